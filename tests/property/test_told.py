"""What is told while it is read is what the longer way says: the same entity, the same refusal."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from shahar.model.change import Change, apply
from shahar.model.context import CORE
from shahar.model.entity import parse_entity
from shahar.model.told import Whole, read_whole
from shahar.values.errors import ShaharError

AT = 1_767_312_000_001_000

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.booleans() | st.none() | st.text(max_size=4) | st.just("urn:ngsi-ld:null") | st.just([1])
INSTANTS: st.SearchStrategy[Any] = st.sampled_from(
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123+05:00", "yesterday", "urn:ngsi-ld:null", "", None, 7, []]
)
UNITS: st.SearchStrategy[Any] = st.sampled_from(["C62", "GQ", 'a"b', "a\\b", "µ", "\0", "x" * 20, "", None, 3, {}])
PROPERTIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["Property", "Property", "Property", "Relationship", "Nothing", None])},
    optional={"value": VALUES, "unitCode": UNITS, "observedAt": INSTANTS, "datasetId": st.just("urn:a:1")}
    | {"object": st.just("urn:a:b"), "accuracy": st.just({"type": "Property", "value": 1})},
)
PLAIN = st.builds(
    lambda value, unit, at: {"type": "Property", "value": value, "unitCode": unit, "observedAt": at},
    NUMBERS,
    st.just("C62"),
    st.just("2026-01-01T00:00:00Z"),
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["a", "b", "temperature", 'q"', "c:d", ""]),
    PLAIN | PROPERTIES | st.lists(PROPERTIES, min_size=1, max_size=2) | VALUES,
    max_size=3,
)
SHELLS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["urn:ngsi-ld:T:1", "no uri", 5]),
        "type": st.sampled_from(["T", ["T", "U"], [], "", 'T"']),
        "scope": st.sampled_from(["/a/b", ["/a", "/b"], [], "no scope"]),
    },
)
WHOLE = st.just({"id": "urn:ngsi-ld:T:1", "type": "T"})


def outcome(body: Any) -> Any:
    """The longer way: the document that a creation leaves, or the refusal."""
    try:
        doc = parse_entity(body, CORE)
        return apply(Change("upsert", doc["id"], doc), None, AT).doc
    except ShaharError as problem:
        return type(problem), str(problem)


def told(body: Any) -> Any:
    """The same as it is told."""
    try:
        wish = read_whole("upsert", body, CORE, AT)
        if not isinstance(wish, Whole):
            return apply(wish, None, AT).doc
    except ShaharError as problem:
        return type(problem), str(problem)
    attrs: dict[str, Any] = {}
    for iri, _, _, text in wish.lines:
        attrs.setdefault(iri, []).append(orjson.loads(text))
    assert orjson.loads(wish.attrs) == attrs
    assert wish.multi == any(len(instances) > 1 for instances in attrs.values())
    return {**wish.shell, "attrs": attrs}


@settings(max_examples=400, deadline=None)
@given(SHELLS | WHOLE, ATTRIBUTES)
def test_a_whole_entity_is_told_as_it_would_be_read(shell: dict[str, Any], attributes: dict[str, Any]) -> None:
    body = orjson.loads(orjson.dumps({**attributes, **shell}))
    expected = outcome(body)
    if isinstance(expected, dict):
        expected = orjson.loads(orjson.dumps(expected))
    assert told(body) == expected
