# Two commands: `make run` shows a living city, `make test` proves that it works. The others are for whoever changes something.
.DEFAULT_GOAL := run
.PHONY: run test faults lint fix bench conformance lock wheel clean
SHELL := /bin/bash -eu -o pipefail
PY = $$(scripts/python.sh)
ROUNDS ?= 3
PYTHON_PARTS = src tests scripts $(wildcard bench)

run: ## install, build, and start the demo city
	@py=$(PY) && "$$py" -m scripts.install run && "$$py" -m scripts.ui build && exec .venv/bin/shahar demo

test: .dev ## everything, in under ten minutes
	@py=$(PY) && "$$py" -m scripts.ui build && chromium=$$("$$py" -m scripts.chromium) && SHAHAR_TEST_CHROMIUM="$$chromium" SHAHAR_TEST_FAULT_ROUNDS=$(ROUNDS) .venv/bin/python -m pytest -n 2 --dist loadfile

faults: .dev ## the tests that kill and starve, twenty rounds
	@SHAHAR_TEST_FAULT_ROUNDS=20 .venv/bin/python -m pytest -m faults

lint: .dev ## style, types, and the browser part's own checks
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy $(PYTHON_PARTS) && $(PY) -m scripts.ui check

fix: .dev ## mend what can be mended by a machine
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

bench: .dev ## measure speed and memory
	@.venv/bin/python bench/run.py

conformance: .dev ## the official NGSI-LD cases, with RUNNER="command" FILES=list (MATCH=part of a path prints only)
	@.venv/bin/python -m scripts.conformance --runner "$(RUNNER)" --files "$(FILES)" $(if $(MATCH),--match "$(MATCH)")

lock: ## write the lock files anew (UPGRADE=--upgrade takes newer versions)
	@py=$(PY) && "$$py" -m venv .venv-lock && .venv-lock/bin/pip install -q pip-tools==7.6.2 && .venv-lock/bin/python -m scripts.lock $(UPGRADE)

wheel: .dev ## build the package, with the browser part in it, into dist/
	@py=$(PY) && "$$py" -m scripts.ui build && .venv/bin/python -m hatchling build -t wheel

clean: ## remove what the commands have made
	@rm -rf .venv .venv-client .venv-lock .cache dist ui/node_modules src/shahar/web/static/ops

.PHONY: .dev
.dev:
	@py=$(PY) && "$$py" -m scripts.install dev client
