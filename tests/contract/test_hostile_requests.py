"""What nobody should send, sent to a real server: a clear refusal each time, counted, and no harm to anybody else.

Every refusal is a problem document (RFC 7807) of a 4xx or 501 that names the field where there is one. At the end of
all, the server has answered nothing with another 5xx and has logged no failure.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shahar.web.routes import HOT, Route
from tests.running import Answer, City
from tests.wire import REFUSALS, Wire, check_refused, connect, request_text

ENTITIES: Final = "/ngsi-ld/v1/entities"
BATCH: Final = "/ngsi-ld/v1/entityOperations"
TEMPORAL: Final = "/ngsi-ld/v1/temporal/entities"
SUBSCRIPTIONS: Final = "/ngsi-ld/v1/subscriptions"
MIB: Final = 1024 * 1024
HUGE: Final = 100 * MIB
GROWTH_BYTES: Final = 30 * MIB
UNREACHABLE: Final = 504
"""LdContextNotAvailable of the standard: somebody named an @context at an address where there is none."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[City]:
    """One server for all of them; whatever they do, at the end it lives and has failed at nothing."""
    with City(tmp_path_factory.mktemp("hostile")) as one:
        assert (
            one.call(
                "POST",
                ENTITIES,
                {"id": "urn:ngsi-ld:T:kept", "type": "T", "a": {"type": "Property", "value": "a" * 60 + "!"}},
            ).status
            == 201
        )
        yield one
        assert one.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:kept").status == 200
        failed = [
            name
            for name, count in one.figures().items()
            if 'requests_total{status="5' in name and '"501"' not in name and '"504"' not in name and count
        ]
        assert (failed, "request failed" in one.said(), "Traceback" in one.said()) == ([], False, False)


@pytest.fixture
def wire(city: City) -> Iterator[Wire]:
    """A fresh connection."""
    with connect(city) as one:
        yield Wire(city, one)


# -- bodies -----------------------------------------------------------------------------------------------------------


def entity(**members: Any) -> dict[str, Any]:
    """An entity with one more member or another."""
    return {"id": "urn:ngsi-ld:T:1", "type": "T"} | members


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    """JSON of so many levels."""
    return opening * levels + "1" + closing * levels


def with_value(text: str) -> bytes:
    """An entity whose attribute has this JSON text as its value."""
    return b'{"id":"urn:ngsi-ld:T:1","type":"T","a":{"type":"Property","value":%s}}' % text.encode()


def attributes(levels: int) -> bytes:
    """An entity with attributes of attributes."""
    opening = '"a":{"type":"Property","value":1,'
    return ('{"id":"urn:ngsi-ld:T:1","type":"T",' + opening * levels + '"unitCode":"C62"' + "}" * (levels + 1)).encode()


NOT_JSON: Final = {
    "nothing": b"",
    "a brace": b"{",
    "a word": b"hello",
    "a comma too many": b'{"id":"urn:ngsi-ld:T:1","type":"T",}',
    "single quotes": b"{'id':'urn:ngsi-ld:T:1'}",
    "NaN": with_value("NaN"),
    "Infinity": with_value("-Infinity"),
    "no UTF-8": b'{"id":"urn:ngsi-ld:T:\xff\xfe","type":"T"}',
    "UTF-16": '{"id":"urn:ngsi-ld:T:1","type":"T"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"id":"urn:ngsi-ld:T:1","type":"T"}',
    "a raw NUL": b'{"id":"urn:ngsi-ld:T:\x001","type":"T"}',
    "NUL bytes only": b"\x00" * 100,
    "a lone surrogate": b'{"id":"urn:ngsi-ld:T:\\ud800","type":"T"}',
    "a surrogate cut off": b'{"id":"urn:ngsi-ld:T:\\udc00x","type":"T"}',
    "two documents": b'{"id":"urn:ngsi-ld:T:1","type":"T"}{"id":"urn:ngsi-ld:T:2","type":"T"}',
    "a number": b"5",
    "a text": b'"urn:ngsi-ld:T:1"',
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "random bytes": bytes(range(256)) * 8,
    "a hundred thousand brackets": b"[" * 100_000,
    "a hundred thousand objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
@pytest.mark.parametrize(
    "method_path",
    [
        ("POST", ENTITIES),
        ("POST", SUBSCRIPTIONS),
        ("POST", f"{BATCH}/upsert"),
        ("PATCH", f"{ENTITIES}/urn:ngsi-ld:T:kept/attrs"),
    ],
    ids=str,
)
def test_what_is_no_json_is_refused(city: City, method_path: tuple[str, str], body: bytes) -> None:
    before = city.answered(400, 413)
    check_refused(city.call(*method_path, body), "body", 400, 413)
    assert city.answered(400, 413) == before + 1


BAD_ENTITIES: Final[dict[str, tuple[str | None, bytes | dict[str, Any]]]] = {
    # nesting
    "a value 1 000 deep": (None, with_value(nested(1_000))),
    "an object 1 000 deep": (None, with_value(nested(1_000, '{"x":', "}"))),
    "a value 100 deep": (None, with_value(nested(100))),
    "attributes 1 000 deep": (None, attributes(1_000)),
    "attributes 20 deep": (None, attributes(20)),
    "a context 1 000 deep": (
        "@context",
        b'{"@context":' + nested(1_000).encode() + b',"id":"urn:ngsi-ld:T:1","type":"T"}',
    ),
    # texts
    "NUL in the id": ("id", entity(id="urn:ngsi-ld:T:\0")),
    "NUL in the type": (None, entity(type="T\0")),
    "NUL in an attribute's name": (None, entity(**{"a\0b": {"type": "Property", "value": 1}})),
    "NUL in a value": (None, entity(a={"type": "Property", "value": "x\0y"})),
    "NUL deep in a value": (None, entity(a={"type": "Property", "value": {"x": ["\0"]}})),
    "NUL in a value's key": (None, entity(a={"type": "Property", "value": {"x\0": 1}})),
    "NUL in a unit": (None, entity(a={"type": "Property", "value": 1, "unitCode": "C\0"})),
    "NUL in a language": (None, entity(a={"type": "LanguageProperty", "languageMap": {"uz": "\0"}})),
    "NUL in a scope": ("scope", entity(scope="/a\0")),
    "no URI": ("id", entity(id="not a uri")),
    "an id that is a number": ("id", entity(id=5)),
    "an id of a megabyte": ("id", entity(id="urn:" + "x" * MIB)),
    "a type of a megabyte": (None, entity(type="x" * MIB)),
    "a name of a megabyte": (None, entity(**{"x" * MIB: {"type": "Property", "value": 1}})),
    "a text of a megabyte": (None, entity(a={"type": "Property", "value": "x" * MIB})),
    "no type": ("type", {"id": "urn:ngsi-ld:T:1"}),
    "a thousand types": ("type", entity(type=[f"T{number}" for number in range(1_000)])),
    "2 000 attributes": (None, entity(**{f"a{number}": {"type": "Property", "value": 1} for number in range(2_000)})),
    "100 000 items": (None, entity(a={"type": "Property", "value": [1] * 100_000})),
    "a scope that is a number": ("scope", entity(scope=7)),
    # attributes
    "an unknown kind of attribute": (None, entity(a={"type": "Nonsense", "value": 1})),
    "a Property without value": (None, entity(a={"type": "Property"})),
    "a Relationship to nothing": (None, entity(a={"type": "Relationship", "object": "not a uri"})),
    "a Relationship to an object": (None, entity(a={"type": "Relationship", "object": {"x": 1}})),
    "a null value": (None, entity(a={"type": "Property", "value": None})),
    # numbers
    "1e999": (None, with_value("1e999")),
    "-1e999": (None, with_value("-1e999")),
    "a number of 10 000 digits": (None, with_value("9" * 10_000)),
    # places
    **{
        f"the geometry {text[:60]}": ("location", entity(location={"type": "GeoProperty", "value": json.loads(text)}))
        for text in (
            '{"type":"Point"}',
            '{"type":"Point","coordinates":[]}',
            '{"type":"Point","coordinates":[69.2]}',
            '{"type":"Point","coordinates":["69.2","41.3"]}',
            '{"type":"Point","coordinates":[181,41.3]}',
            '{"type":"Point","coordinates":[69.2,91]}',
            '{"type":"Point","coordinates":[69.2,41.3,1,2,3]}',
            '{"type":"Point","coordinates":[[69.2,41.3]]}',
            '{"type":"Point","coordinates":[true,false]}',
            '{"type":"Point","coordinates":[null,null]}',
            '{"type":"LineString","coordinates":[[69.2,41.3]]}',
            '{"type":"Polygon","coordinates":[[[0,0],[1,1],[0,0]]]}',
            '{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1]]]}',
            '{"type":"Polygon","coordinates":[]}',
            '{"type":"Circle","coordinates":[0,0]}',
            '{"type":"GeometryCollection","geometries":5}',
            '"POINT (1 1)"',
            '{"coordinates":[0,0]}',
            "5",
            "[]",
        )
    },
    "a ring of 20 000 positions": (
        "location",
        entity(
            location={
                "type": "GeoProperty",
                "value": {"type": "LineString", "coordinates": [[index / 1e4, 1] for index in range(20_000)]},
            }
        ),
    ),
    # instants
    **{
        f"observed {text[:40]!r}": (None, entity(a={"type": "Property", "value": 1, "observedAt": text}))
        for text in (
            "0000-01-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:61:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01",
            "yesterday",
            "",
            "2026-01-01T00:00:00+99:99",
            "２０２６-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z\0",
            "9" * 10_000,
        )
    },
    "observed at a number": (None, entity(a={"type": "Property", "value": 1, "observedAt": 1_767_225_600})),
    "observed at 2**70": (None, with_value("1").replace(b'"value":1', b'"value":1,"observedAt":%d' % 2**70)),
}


@pytest.mark.parametrize(("field", "body"), BAD_ENTITIES.values(), ids=BAD_ENTITIES.keys())
def test_a_bad_entity_is_refused_and_nothing_is_kept(
    city: City, field: str | None, body: bytes | dict[str, Any]
) -> None:
    before = city.answered(400, 413)
    answer = city.call("POST", ENTITIES, body)
    kept = city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:1").status
    check_refused(answer, None, 400, 413)
    assert kept == 404
    named = answer.json().get("field")
    assert named, "it names no field"
    assert field is None or named.startswith(field), named
    assert city.answered(400, 413) == before + 1


def test_a_polygon_that_crosses_itself_is_refused_or_can_be_asked_about(city: City) -> None:
    ring = [[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]
    answer = city.call(
        "POST",
        ENTITIES,
        entity(type="Crossed", location={"type": "GeoProperty", "value": {"type": "Polygon", "coordinates": [ring]}}),
    )
    for relation in ("within", "intersects", "contains", "overlaps", "equals", "disjoint", "near;maxDistance==5"):
        for coordinates in ([ring], [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]):
            query = urlencode(
                {"type": "Crossed", "georel": relation, "geometry": "Polygon", "coordinates": json.dumps(coordinates)}
            )
            asked = city.call("GET", f"{ENTITIES}?{query}")
            assert asked.status == 200 or asked.status in REFUSALS, (relation, asked.body)
    assert city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:1").status == (204 if answer.status == 201 else 404)


def test_a_bad_member_of_a_batch_fails_alone(city: City) -> None:
    bad = [
        entity(id=f"urn:ngsi-ld:T:bad{number}") | {"a": {"type": "Property", "value": value}}
        for number, value in enumerate(("\0", None, json.loads(nested(900))))
    ]
    good = [entity(id=f"urn:ngsi-ld:T:good{number}") for number in range(3)]
    answer = city.call("POST", f"{BATCH}/create", [one for pair in zip(bad, good, strict=True) for one in pair])
    assert answer.status == 207
    assert sorted(answer.json()["success"]) == [one["id"] for one in good]
    assert [one["entityId"] for one in answer.json()["errors"]] == [one["id"] for one in bad]


@pytest.mark.parametrize(
    "members",
    [[None], [5], ["x"], [[]], [{}], [{"id": None}], [{"id": "urn:ngsi-ld:T:1"}], [{"id": []}, {"type": {}}]],
    ids=str,
)
@pytest.mark.parametrize("act", ["create", "upsert", "update", "merge", "delete"])
def test_a_batch_of_anything_but_entities_is_refused(city: City, act: str, members: list[Any]) -> None:
    answer = city.call("POST", f"{BATCH}/{act}", members)
    assert answer.status in {207, 400}, answer.body
    assert city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:1").status == 404


def test_a_batch_of_a_hundred_thousand_is_refused(city: City) -> None:
    check_refused(
        city.call("POST", f"{BATCH}/delete", [f"urn:ngsi-ld:T:{number}" for number in range(100_000)]), "body", 413
    )


def test_numbers_beyond_64_bits_keep_their_value_or_are_refused(city: City) -> None:
    for number in (2**53, 2**63 - 1, 2**64 - 1, 2**64, 2**70, -(2**63), -(2**70), 1e308, 5e-324, -0.0):
        answer = city.call("POST", ENTITIES, with_value(repr(number)))
        if answer.status != 201:
            check_refused(answer, None, 400)
            continue
        told = city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:1?options=simplified").json()
        assert city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:1").status == 204
        assert told["a"] == number


def test_a_key_told_twice_is_refused_or_the_last_one_counts(city: City) -> None:
    answer = city.call(
        "POST",
        ENTITIES,
        b'{"id":"urn:ngsi-ld:T:first","id":"urn:ngsi-ld:T:last","type":"T","a":{"value":1},"a":{"value":2}}',
    )
    if answer.status != 201:
        check_refused(answer, None, 400)
        return
    assert answer.headers["location"].endswith("urn:ngsi-ld:T:last")
    assert city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:last?options=simplified").json()["a"] == 2
    assert city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:last").status == 204


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "text/html",
        "application/xml",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "\0",
        "a/b/c",
        ";",
        "application/json;" + "x" * 4_000,
        "x" * 4_000,
        "application/geo+json",
    ],
    ids=lambda kind: repr(kind[:40]),
)
def test_a_wrong_content_type_is_refused(city: City, wire: Wire, kind: str) -> None:
    wire.say(request_text(city, "POST", ENTITIES, json.dumps(entity()).encode(), content_type=kind))
    if kind.startswith("application/json;"):
        answer = wire.hear()
        assert answer is not None
        assert city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:1").status == 204
        assert answer.status == 201
        return
    check_refused(wire.hear(), None, 400, 415)


BAD_CONTEXTS: Final[tuple[Any, ...]] = (
    5,
    True,
    [5],
    {"a": 5},
    {"a": {"@id": 5}},
    [[[[[[[[[[[["x"]]]]]]]]]]]],
    {"a": {"@id": "a\0"}},
    "not an address",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "http://",
    "http://[",
    "http://x y/",
    {"@context": {"@context": {}}},
    {"id": "http://example.org/id"},
    {"@vocab": 7},
    {"a": {"@reverse": "b"}},
    {"x" * 10_000: "http://example.org/x"},
    ["http://127.0.0.1/"] * 100,
)


@pytest.mark.parametrize("context", BAD_CONTEXTS, ids=lambda one: str(one)[:50])
def test_a_broken_context_is_refused_or_does_no_harm(city: City, context: Any) -> None:
    body = entity(id="urn:ngsi-ld:T:context", a={"type": "Property", "value": 1}) | {"@context": context}
    answer = city.call("POST", ENTITIES, body, {"content-type": "application/ld+json"})
    if answer.status == 201:
        assert city.call("DELETE", f"{ENTITIES}/urn:ngsi-ld:T:context").status == 204
    elif answer.status != UNREACHABLE:
        check_refused(answer, None, 400, 413)


# -- addresses and headers --------------------------------------------------------------------------------------------


TERMS: Final = ";".join(f"a{number}==1" for number in range(10_000))
BAD_QUESTIONS: Final[dict[str, tuple[str, str]]] = {
    "10 000 terms": ("q", urlencode({"type": "T", "q": TERMS})),
    "101 terms": ("q", urlencode({"type": "T", "q": ";".join(f"a{number}==1" for number in range(101))})),
    "brackets without end": ("q", urlencode({"type": "T", "q": "(" * 500})),
    "brackets 500 deep": ("q", urlencode({"type": "T", "q": "(" * 500 + "a==1" + ")" * 500})),
    "an empty q": ("q", "type=T&q="),
    "half a term": ("q", urlencode({"type": "T", "q": "a=="})),
    "an SQL sentence": ("q", urlencode({"type": "T", "q": "a==1'; DROP TABLE entity;--"})),
    "NUL in q": ("query", "type=T&q=a==%22%00%22"),
    "a broken pattern": ("q", urlencode({"type": "T", "q": 'a~="(("'})),
    "a broken idPattern": ("idPattern", urlencode({"type": "T", "idPattern": "(["})),
    "an idPattern that counts too far": ("idPattern", urlencode({"type": "T", "idPattern": "((a{100}){100}){100}"})),
    "an idPattern of 5 000": ("idPattern", urlencode({"type": "T", "idPattern": "a" * 5_000})),
    "no limit": ("limit", "type=T&limit="),
    "limit -1": ("limit", "type=T&limit=-1"),
    "limit 1e3": ("limit", "type=T&limit=1e3"),
    "limit of thirty digits": ("limit", f"type=T&limit={10**30}"),
    "limit of fifteen digits that begins small": ("limit", "type=T&limit=000000000512345"),
    "limit of 3 000 digits": ("limit", f"type=T&limit={'9' * 3_000}"),
    "limit in Arabic digits": ("limit", urlencode({"type": "T", "limit": "١٢"})),
    "limit 1001": ("limit", "type=T&limit=1001"),
    "offset -1": ("offset", "type=T&offset=-1"),
    "offset of thirty digits": ("offset", f"type=T&offset={10**30}"),
    "count=maybe": ("count", "type=T&count=maybe"),
    "a parameter twice": ("type", "type=T&type=U"),
    "a parameter nobody knows": ("colour", "type=T&colour=red"),
    "no UTF-8": ("query", "type=%ff%fe"),
    "an id that is none": ("id", "id=not%20a%20uri"),
    "2 000 ids": ("id", "id=" + ",".join(f"urn:a:{number}" for number in range(900))),
    "a georel without place": (None, "type=T&georel=within"),  # type: ignore[dict-item]  # -- which of the three it names is its own choice
    "near without distance": (
        "georel",
        urlencode({"type": "T", "georel": "near", "geometry": "Point", "coordinates": "[1,1]"}),
    ),
    "near 1e999": (
        "georel",
        urlencode({"type": "T", "georel": "near;maxDistance==1e999", "geometry": "Point", "coordinates": "[1,1]"}),
    ),
    "near minus 1": (
        "georel",
        urlencode({"type": "T", "georel": "near;maxDistance==-1", "geometry": "Point", "coordinates": "[1,1]"}),
    ),
    "no georel at all": (
        "georel",
        urlencode({"type": "T", "georel": "beside", "geometry": "Point", "coordinates": "[1,1]"}),
    ),
    "coordinates NaN": (
        "coordinates",
        urlencode({"type": "T", "georel": "within", "geometry": "Point", "coordinates": "[NaN,1]"}),
    ),
    "coordinates 1e999": (
        "coordinates",
        urlencode({"type": "T", "georel": "within", "geometry": "Point", "coordinates": "[1e999,1]"}),
    ),
    "coordinates 500 deep": (
        "coordinates",
        urlencode({"type": "T", "georel": "within", "geometry": "Polygon", "coordinates": nested(500)}),
    ),
    "coordinates of prose": (
        "coordinates",
        urlencode({"type": "T", "georel": "within", "geometry": "Point", "coordinates": "here"}),
    ),
    "a Circle": (
        "geometry",
        urlencode({"type": "T", "georel": "within", "geometry": "Circle", "coordinates": "[1,1]"}),
    ),
    "a scope that is none": ("scopeQ", urlencode({"type": "T", "scopeQ": "((((/a"})),
    "a type that is none": ("type", urlencode({"type": "(((T"})),
    "options of nonsense": ("options", "type=T&options=nonsense"),
    "a format of nonsense": ("format", "type=T&format=nonsense"),
}


@pytest.mark.parametrize(("field", "query"), BAD_QUESTIONS.values(), ids=BAD_QUESTIONS.keys())
def test_a_bad_question_is_refused(city: City, field: str | None, query: str) -> None:
    answer = city.call("GET", f"{ENTITIES}?{query}")
    check_refused(answer, None, 400, 403, 413)
    if len(query) < 8_000:
        assert answer.json().get("field") == field or field is None, answer.json()


def test_ten_thousand_terms_are_refused_in_a_body_too(city: City) -> None:
    check_refused(
        city.call("POST", f"{BATCH}/query", {"type": "Query", "entities": [{"type": "T"}], "q": TERMS}),
        "q",
        400,
        403,
        413,
    )


BAD_TIMES: Final = (
    "timerel=after",
    "timerel=between&timeAt=2026-01-01T00:00:00Z",
    "timerel=never&timeAt=2026-01-01T00:00:00Z",
    "timeAt=2026-01-01T00:00:00Z",
    "timerel=after&timeAt=0000-01-01T00:00:00Z",
    "timerel=after&timeAt=99999-01-01T00:00:00Z",
    "timerel=after&timeAt=2026-02-30T00:00:00Z",
    "timerel=after&timeAt=2026-01-01T00:00:00",
    "timerel=after&timeAt=now",
    "timerel=after&timeAt=2026-01-01T00:00:00Z&lastN=0",
    "timerel=after&timeAt=2026-01-01T00:00:00Z&lastN=-5",
    f"timerel=after&timeAt=2026-01-01T00:00:00Z&lastN={10**30}",
    "timerel=after&timeAt=2026-01-01T00:00:00Z&timeproperty=bornAt",
)


@pytest.mark.parametrize("query", BAD_TIMES)
def test_an_absurd_time_is_refused(city: City, query: str) -> None:
    check_refused(city.call("GET", f"{TEMPORAL}/urn:ngsi-ld:T:kept?{query}"), None, 400)
    check_refused(city.call("GET", f"{TEMPORAL}?type=T&{query}"), None, 400)


PATTERNS: Final = (
    "^(a+)+$",
    "(a|a)*b",
    "(.*)*x",
    "(a*)*$",
    "([a-z]+)*!!",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(a|aa)+$",
    "(?:a?){60}a{60}",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_takes_long(city: City, pattern: str) -> None:
    long = "urn:ngsi-ld:" + "a" * 200 + "!"
    city.call(
        "POST",
        f"{BATCH}/upsert",
        [entity(id=f"{long}{number}", a={"type": "Property", "value": "a" * 200 + "!"}) for number in range(50)],
    )
    for query in (
        {"type": "T", "idPattern": pattern},
        {"type": "T", "q": f'a~="{pattern}"'},
        {"type": "T", "q": f'a!~="{pattern}"'},
    ):
        started = time.monotonic()
        answer = city.call("GET", f"{ENTITIES}?{urlencode(query)}")
        assert time.monotonic() - started < 2, query
        assert answer.status == 200 or answer.status in REFUSALS


BAD_PATHS: Final = (
    b"/ngsi-ld/v1/entities/%ff",
    b"/ngsi-ld/v1/entities/urn:%00",
    b"/ngsi-ld/v1/entities/%",
    b"/ngsi-ld/v1/entities/%zz",
    b"/ngsi-ld/v1/entities/no-uri",
    b"/ngsi-ld/v1/nothing",
    b"/ngsi-ld/",
    b"/ngsi-ld/v2/entities",
    b"/ngsi-ld/v1/entities/a:b/attrs/c/d/e/f",
    b"/ngsi-ld/v1/entities/" + b"a:" * 5_000,
    b"/ngsi-ld/v1/../../etc/passwd",
    b"/ngsi-ld/v1/%2e%2e/%2e%2e/etc/passwd",
    b"/intake/",
    b"/intake/nobody",
    b"/intake/a%2Fb",
    b"/" + b"/" * 4_000,
    b"/nothing",
    b"/ops/static/../../../etc/passwd",
    b"/static/%2e%2e/%2e%2e/routes.py",
    b"/static/..%2f..%2froutes.py",
    b"/%ff",
    b"/%00",
    b"/api/devices/%00",
    b"/ngsi-ld/v1/entities/" + "urn:ngsi-ld:Ўзбек".encode(),
)


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:50]))
def test_a_bad_address_is_refused(city: City, wire: Wire, path: bytes) -> None:
    wire.say(request_text(city, "GET", path))
    check_refused(wire.hear(), None, 400, 404, 405, 413)


BAD_HEADERS: Final = (
    *(
        ("NGSILD-Tenant", f"NGSILD-Tenant: {name}")
        for name in ("a/b", "../etc", "a b", "/", "x" * 100, "ü", "a;b", "a'b", "-", "%00", "a\\b", "*")
    ),
    (None, "Accept: text/html"),
    (None, "Accept: " + ",".join(f"text/x{number}" for number in range(500))),
    (None, "Accept: application/json;q=0"),
    (
        "Link",
        '<http://a/>; rel="http://www.w3.org/ns/json-ld#context", <http://b/>; rel="http://www.w3.org/ns/json-ld#context"',
    ),
    *(
        (None, f'Link: <{address}>; rel="http://www.w3.org/ns/json-ld#context"')
        for address in ("not an address", "file:///etc/passwd", "ftp://a/", "//a/b", "data:text/plain,x")
    ),
)


@pytest.mark.parametrize(("field", "line"), BAD_HEADERS, ids=lambda one: str(one)[:60])
def test_a_bad_header_is_refused(city: City, wire: Wire, field: str | None, line: str) -> None:
    wire.say(
        request_text(
            city,
            "GET",
            f"{ENTITIES}?type=T",
            b"",
            line if line.partition(":")[0].isalpha() or "Tenant" in line else f"Link: {line}",
        )
    )
    check_refused(wire.hear(), field, 400, 406, 413)


def test_a_link_header_of_brackets_takes_no_time(city: City, wire: Wire) -> None:
    started = time.monotonic()
    wire.say(request_text(city, "GET", f"{ENTITIES}?type=T", b"", "Link: " + "<" * 15_000, "accept: application/json"))
    answer = wire.hear()
    assert answer is not None
    assert answer.status == 200 or answer.status in REFUSALS
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    "lines",
    [
        [f"x-{number}: y" for number in range(10_000)],
        ["x-long: " + "y" * MIB],
        ["x-long: " + "y" * 20_000],
        [f"x: {'y' * 1_000}"] * 50,
        ["authorization: Bearer a"],
        ["x-api-key: " + "y" * 10_000, "x-api-key: b"],
    ],
    ids=["10 000 fields", "a megabyte", "20 000 bytes", "50 times one", "two credentials", "two keys"],
)
@pytest.mark.parametrize("path", [f"{ENTITIES}?type=T", "/api/keys", "/health"])
def test_a_flood_of_header_fields_is_refused(city: City, wire: Wire, path: str, lines: list[str]) -> None:
    wire.say(request_text(city, "GET", path, b"", *lines))
    check_refused(wire.hear(), None, 400, 401, 413)


@pytest.mark.parametrize("tenant", ["a/b", "../etc", "a b", "\0", "x" * 100, "ü", "%00", "*/*", 5, None, []], ids=repr)
@pytest.mark.parametrize("path", ["/api/keys", "/api/links"])
def test_a_bad_tenant_of_a_key_is_refused(city: City, path: str, tenant: Any) -> None:
    check_refused(city.call("POST", path, {"label": "x", "role": "resident", "tenant": tenant}), None, 400, 404)


@pytest.mark.parametrize(
    "method", ["TRACE", "OPTIONS", "PROPFIND", "LINK", "MKCOL", "PURGE", "SEARCH", "HEAD", "DELETE", "PUT"]
)
@pytest.mark.parametrize("path", [SUBSCRIPTIONS, f"{BATCH}/create", "/intake/x", "/api/keys", "/nothing"])
def test_a_method_that_is_not_for_an_address_is_refused(city: City, wire: Wire, method: str, path: str) -> None:
    wire.say(request_text(city, method, path))
    answer = wire.hear(headless=method == "HEAD")
    assert answer is not None
    if method == "HEAD":
        assert answer.status in {404, 405} or path == "/api/keys"  # a page answers HEAD as GET, without its body
    else:
        check_refused(answer, None, 404, 405)


NOT_HTTP: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"hello\r\n\r\n",
    b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"\0" * 1_000,
    b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\nx: \0\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"* * *\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@pytest.mark.parametrize("said", NOT_HTTP, ids=lambda one: repr(one[:40]))
def test_what_is_no_http_is_refused_and_counted(city: City, wire: Wire, said: bytes) -> None:
    before = city.answered()
    wire.say(said)
    check_refused(wire.hear(), None, 400, 404, 405, 413)
    assert city.answered() in {before + 2, before + 3}, "it was not counted, once or with the request that it began as"


# -- size and patience ------------------------------------------------------------------------------------------------


def flood(city: City, head: bytes, piece: bytes, total: int) -> Answer | None:
    """Send a head and then pieces until `total` bytes or until the server has enough; its answer."""
    with connect(city) as one:
        wire, heard = Wire(city, one), []
        listening = Thread(target=lambda: heard.append(wire.hear()))
        listening.start()
        wire.say(head)
        sent = 0
        with suppress(OSError):
            while sent < total:
                one.sendall(piece)
                sent += len(piece)
        with suppress(OSError):
            one.shutdown(socket.SHUT_WR)
        listening.join(20)
        return heard[0] if heard else None


def test_bodies_of_100_mb_are_refused_and_leave_no_memory_behind(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    started, before, refused = time.monotonic(), city.rss_bytes(), 0
    chunk = b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"
    for method, path in (
        ("POST", ENTITIES),
        ("POST", f"{BATCH}/upsert"),
        ("PATCH", f"{ENTITIES}/urn:ngsi-ld:T:kept"),
        ("POST", "/intake/x"),
        ("POST", "/api/keys"),
        ("POST", "/api/devices"),
    ):
        head = request_text(city, method, path)
        check_refused(
            flood(city, head.replace(b"content-length: 0", b"content-length: %d" % HUGE), b"x" * MIB, HUGE), None, 413
        )
        check_refused(
            flood(city, head.replace(b"content-length: 0", b"transfer-encoding: chunked"), chunk, HUGE), None, 413
        )
        refused += 2
    grown = city.rss_bytes() - before
    with capsys.disabled():
        print(
            f"\nhostile: {refused} bodies of 100 MB refused in {time.monotonic() - started:.1f} s,"
            f" {grown / MIB:+.1f} MiB of memory"
        )
    assert grown < GROWTH_BYTES


def test_header_fields_without_end_are_cut_off_and_leave_no_memory_behind(city: City) -> None:
    before = city.rss_bytes()
    for piece in (b"x-more: " + b"y" * 1_000 + b"\r\n", b"y" * 1_000):
        answer = flood(city, b"GET /health HTTP/1.1\r\nhost: x\r\nx: ", piece * 100, HUGE)
        assert answer is None or answer.status in REFUSALS
    assert city.rss_bytes() - before < GROWTH_BYTES


def test_bodies_at_the_bound_leave_no_memory_behind(city: City) -> None:
    before = city.rss_bytes()
    for body in (
        b"[" * (4 * MIB),
        b'{"a":' * (MIB // 2),
        b"[" + b"0," * (2 * MIB - 2) + b"0]",
        b'"' + b"x" * (4 * MIB - 2) + b'"',
        b"[" + b'"a",' * (MIB - 2) + b"1]",
    ):
        for path in (ENTITIES, f"{BATCH}/upsert", SUBSCRIPTIONS):
            check_refused(city.call("POST", path, body), None, 400, 413)
    assert city.rss_bytes() - before < GROWTH_BYTES


def test_half_sent_requests_stop_nobody(city: City) -> None:
    whole = request_text(city, "POST", ENTITIES, json.dumps(entity()).encode())
    with ExitStack() as stack:
        for number in range(300):
            one = stack.enter_context(connect(city))
            one.sendall(whole[: (5, 30, len(whole) - 10)[number % 3]])
        for _ in range(20):
            started = time.monotonic()
            assert city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:kept").status == 200
            assert time.monotonic() - started < 1
    assert city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:1").status == 404


# -- anything to everywhere -------------------------------------------------------------------------------------------

WORDS: Final = st.sampled_from(
    (
        "id",
        "type",
        "@context",
        "value",
        "urn:ngsi-ld:T:1",
        "Property",
        "Relationship",
        "entities",
        "notification",
        "endpoint",
        "uri",
        "q",
        "geoQ",
        "watchedAttributes",
        "timeInterval",
        "location",
        "observedAt",
        "Subscription",
        "T",
        "*",
        "",
        "\0",
        "urn:ngsi-ld:null",
    )
)
TEXTS: Final = WORDS | st.text(max_size=20).filter(lambda text: text.isprintable())
JSON_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=12,
)
BODIES: Final = st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode())
QUERIES: Final = st.dictionaries(
    st.sampled_from(
        (
            "q",
            "type",
            "id",
            "idPattern",
            "attrs",
            "limit",
            "offset",
            "georel",
            "geometry",
            "coordinates",
            "options",
            "timerel",
            "timeAt",
            "lang",
            "datasetId",
            "pick",
            "omit",
            "join",
            "orderBy",
            "scopeQ",
            "count",
            "local",
            "x",
        )
    ),
    TEXTS | st.text(max_size=12),
    max_size=3,
)


@settings(max_examples=800, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    route=st.sampled_from(HOT),
    argument=TEXTS,
    query=QUERIES,
    body=BODIES,
    kind=st.sampled_from(
        (
            "application/json",
            "application/json",
            "application/ld+json",
            "application/merge-patch+json",
            "text/plain",
            "",
        )
    ),
    more=st.sampled_from(((), ("ngsild-tenant: other",), ('link: <x>; rel="y"',), ("accept: application/geo+json",))),
)
def test_anything_sent_anywhere_is_answered(
    city: City, route: Route, argument: str, query: dict[str, str], body: bytes, kind: str, more: tuple[str, ...]
) -> None:
    path = route.path.format(*[quote(argument, safe="")] * route.path.count("{}"))
    query_text = urlencode(query, errors="replace")
    wire = _kept_open(city)
    wire.say(
        request_text(city, route.method, f"{path}?{query_text}" if query else path, body, *more, content_type=kind)
    )
    answer = wire.hear()
    assert answer is not None
    assert (
        answer.status < 500
        or answer.status == 501
        or (answer.status == UNREACHABLE and b"LdContextNotAvailable" in answer.body)
    ), answer.body
    if answer.status >= 400:
        check_refused(answer, None, answer.status)


_open: dict[int, Wire] = {}


def _kept_open(city: City) -> Wire:
    """One connection for all examples."""
    if city.port not in _open:
        _open[city.port] = Wire(city, connect(city))
    return _open[city.port]


@pytest.fixture(scope="module", autouse=True)
def _closing() -> Iterator[None]:
    yield
    for one in _open.values():
        one.socket.close()


def test_the_folder_of_the_server_is_not_served(city: City) -> None:
    for path in ("/local.key", "/data/local.key", "/static/../local.key", "/ops/static/..%2f..%2fmain.py"):
        assert city.call("GET", path, secret="").status in {401, 403, 404}
    assert Path(city.folder / "local.key").stat().st_mode & 0o077 == 0


# -- no patience, no end ----------------------------------------------------------------------------------------------


def test_who_does_not_go_on_is_let_go(tmp_path: Path) -> None:
    with City(tmp_path, launcher=(str(Path(__file__).parents[1] / "faults" / "hurried.py"),)) as city:
        whole = request_text(city, "POST", ENTITIES, json.dumps(entity()).encode())
        head = whole.index(b"{")
        with ExitStack() as stack:
            wires = [Wire(city, stack.enter_context(connect(city))) for _ in range(6)]
            for wire, said in zip(
                wires, (b"", b"\r\n", whole[:5], whole[: head - 30], whole[:head], whole[:-5]), strict=True
            ):
                wire.say(said)
            started = time.monotonic()
            answers = [wire.hear() for wire in wires]
            assert time.monotonic() - started < 5
            assert all(answer is None or answer.status == 400 for answer in answers), answers
        assert city.call("GET", f"{ENTITIES}/urn:ngsi-ld:T:1").status == 404
