"""The OpenAPI document against what is really there: the routes, the parameters that handlers take, the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from shahar.serving import TABLES
from shahar.values import errors
from shahar.web import problem
from shahar.web.application import pages
from shahar.web.exchange import Params
from shahar.web.openapi import OPERATIONS, bare, document
from shahar.web.openapi.operations import EXAMPLES, JSON, ROOT, Operation
from shahar.web.openapi.parameters import QUERY
from shahar.web.openapi.schemas import SCHEMAS
from shahar.web.routes import HOT
from tests.whole import asking_all

pytestmark = pytest.mark.anyio
WATCHED = ("/health", "/ready", "/metrics", "/openapi.json")
ADDRESSES = {(route.method, route.path): route for route in HOT}
CARRIED = [one for one in OPERATIONS if (one.method, bare(one.path)) in ADDRESSES]


def for_programs() -> set[tuple[str, str]]:
    """Method and path of every address that the server has for programs, read from what it mounts."""
    cold = pages(TABLES, {}, CollectorRegistry(), dict)
    found = {(route.method, route.path) for route in HOT}
    for route in cold.routes:
        if isinstance(route, Route) and (route.path in WATCHED or route.path.startswith("/api/")):
            path = bare(route.path)
            found |= {(method, path) for method in route.methods or () if method != "HEAD"}
    return found


def test_every_address_for_programs_is_in_the_document_and_nothing_else() -> None:
    described = [(one.method, bare(one.path)) for one in OPERATIONS]
    assert len(described) == len(set(described))
    assert set(described) == for_programs()


def test_operations_have_names_of_their_own() -> None:
    names = [one.id for one in OPERATIONS]
    assert len(names) == len(set(names))


def test_whatever_the_document_refers_to_is_there() -> None:
    whole = document()

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for address in set(references(whole)):
        found: Any = whole
        for part in address.removeprefix("#/").split("/"):
            found = found[part]
        assert found
    used = {address.rpartition("/")[2] for address in references(whole)}
    assert set(SCHEMAS) <= used, "a schema that nothing refers to"
    listed = {key for one in OPERATIONS for key in one.params}
    assert set(QUERY) == listed, "a parameter that no operation has, or the other way round"


def test_every_status_of_a_problem_is_told_of() -> None:
    """A new kind of error cannot be answered without its status standing in the document."""
    told = {int(name.rpartition("-")[2]) for name in document()["components"]["responses"]}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ShaharError)]
    kinds.remove(errors.ShaharError)
    statuses = {problem.status_of(kind("x")) for kind in kinds}
    assert statuses - told == {405}, "405 has no operation"


class Taken:
    """Which parameters a handler takes, and whether it got as far as refusing the rest."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: set[str] = set()
        self.done = False
        take, done = Params.take, Params.done

        def taking(params: Params, name: str) -> str | None:
            self.names.add(name)
            return take(params, name)

        def ending(params: Params, later: frozenset[str] = frozenset()) -> None:
            self.done = True
            done(params, later)

        patch.setattr(Params, "take", taking)
        patch.setattr(Params, "done", ending)


def example_of(one: Operation, **more: str) -> tuple[str, str, dict[str, Any]]:
    """Method, address and the rest of a request that the operation reads to the end."""
    path = "/".join(
        quote(EXAMPLES[part[1:-1]], safe=":") if part.startswith("{") else part for part in one.path.split("/")
    )
    params = (
        {"timerel": "after", "timeAt": "2026-11-01T00:00:00Z"} if "timerel" in one.params and one.body is None else {}
    )
    if {"type", "q"} <= set(one.params):
        params["type"] = "Sensor"
    body = {"content": json.dumps(one.body.example), "headers": {"content-type": JSON}} if one.body else {}
    return one.method, path, {"params": params | more, **body}


async def test_each_operation_takes_the_parameters_that_the_document_names(tmp_path: Path) -> None:
    wrong = []
    async with asking_all(tmp_path) as client:
        for one in CARRIED:
            method, path, rest = example_of(one)
            with pytest.MonkeyPatch.context() as patch:
                taken = Taken(patch)
                answer = await client.request(method, path, **rest)
            if path.startswith(("/intake/", "/ngsi-ld/notifications/")):
                continue  # its address has no parameters, and it is not of the standard
            assert taken.done, f"{one.id} did not get to its parameters: {answer.status_code} {answer.text}"
            named = {QUERY[key]["name"] for key in one.params}
            if taken.names != named:
                wrong.append((one.id, "not named", taken.names - named, "not taken", named - taken.names))
    assert not wrong


async def test_a_parameter_that_nobody_knows_is_named_before_what_is_missing(tmp_path: Path) -> None:
    """Clause 6.3.20, which the official cases ask of questions for everything too."""
    async with asking_all(tmp_path) as client:
        for one in (one for one in CARRIED if one.path.startswith(ROOT)):
            method, path, rest = example_of(one)
            answer = await client.request(method, path, **(rest | {"params": {"nonsense": "1"}}))
            told = answer.json()
            assert (answer.status_code, told["type"].rpartition("/")[2]) == (400, "InvalidRequest"), (one.id, told)
            assert told["field"] == "nonsense", one.id


async def test_the_examples_of_the_document_work(tmp_path: Path) -> None:
    """In the order of the document, which makes a thing before it asks for it; what is deleted is made again."""
    async with asking_all(tmp_path) as client:
        made = next(one for one in OPERATIONS if one.id == "createEntity")
        for one in CARRIED:
            await _again(client, made)
            method, path, rest = example_of(one)
            answer = await client.request(method, path, **rest)
            allowed = {*one.answers, 404, 409}
            assert answer.status_code in allowed, (one.id, answer.status_code, answer.text)


async def _again(client: httpx.AsyncClient, made: Operation) -> None:
    method, path, rest = example_of(made)
    await client.request(method, path, **rest)


async def test_anybody_may_read_the_document(tmp_path: Path) -> None:
    async with asking_all(tmp_path) as client:
        answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
