"""Requests that a machine makes from the OpenAPI document, sound and unsound, to a real server: nothing is answered
5xx, nothing with a status, a media type or a body that the document does not name.

Bounded and the same at every run. 501 (not carried yet) and 504 (an @context that cannot be read) are the standard's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from shahar.web.openapi import OPERATIONS, document
from shahar.web.openapi.operations import EXAMPLES, Operation
from tests.running import City

TRIES: Final = 12
CHECKS: Final = [content_type_conformance, response_schema_conformance, status_code_conformance]
ALLOWED_5XX: Final = frozenset({501, 504})
ALWAYS_SOUND: Final = frozenset({"Message", ""})
"""Bodies that nothing can make unsound, as far as the document tells."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[City]:
    """One server for all; at the end it lives and has failed at nothing."""
    with City(tmp_path_factory.mktemp("machine")) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield one
        assert one.call("GET", "/health").status == 200
        assert ("request failed" in one.said(), "Traceback" in one.said()) == (False, False)


@pytest.fixture(scope="module")
def described() -> Any:
    """The document as schemathesis reads it; batches and attributes of attributes are kept short, for they take most
    of the time.
    """
    whole = document()
    schemas = whole["components"]["schemas"] = dict(whole["components"]["schemas"])
    schemas["Attribute"] = {"anyOf": [one | {"additionalProperties": False} for one in schemas["Attribute"]["anyOf"]]}
    for path in whole["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if content["schema"].get("type") == "array":
                    content["schema"] = content["schema"] | {"maxItems": 2}
    return schemathesis.openapi.from_dict(whole)


def strategies(described: Any, operation: Operation) -> SearchStrategy[Case[Any]]:
    """Sound requests to things that are there, and sound and unsound ones to any address."""
    found = described[operation.path][operation.method]
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    there = {"path_parameters": {name: EXAMPLES[name] for name in names}} if names else {}
    kinds = [found.as_strategy(**there)]
    if names:
        kinds.append(found.as_strategy())
    if operation.params or (operation.body and operation.body.schema not in ALWAYS_SOUND):
        kinds.append(found.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    return st.one_of(kinds)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_whatever_a_machine_asks_is_answered_as_described(city: City, described: Any, operation: Operation) -> None:
    for made in OPERATIONS:
        if made.id in {"createEntity", "createSubscription"} and made.body:
            city.call(made.method, made.path, made.body.example)
    signed = {"Authorization": f"Bearer {city.secret}"}

    @given(case=strategies(described, operation))
    @settings(max_examples=TRIES, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
    def ask(case: Case[Any]) -> None:
        answer = case.call(base_url=city.base, headers=signed)
        assert answer.status_code < 500 or answer.status_code in ALLOWED_5XX, answer.text
        case.validate_response(answer, checks=CHECKS)

    ask()
