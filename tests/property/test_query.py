"""Whatever a stranger asks: an answer or Invalid, never anything else; what is written down is read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import shapely
import shapely.geometry
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shahar.model import query as questions
from shahar.model.query import (
    And,
    AnyOf,
    Compare,
    Exists,
    Linked,
    Node,
    Or,
    Path,
    Pattern,
    Query,
    Range,
    ScopeIs,
    TypeIs,
    When,
    matches,
    matches_geo,
    matches_q,
    parse_geo,
    parse_id_pattern,
    parse_q,
    parse_scope,
    parse_types,
)
from shahar.values import places
from shahar.values.errors import Invalid


def expand(name: str) -> str:
    return "x:" + name


# Mostly pieces of the languages, so that strange texts go deep into the readers.
LANGUAGE = 'a b.c a[b] r{T: { } == != > <= ~= !~= ; | , ( ) .. "x" " [ ] 1 -2.5e3 true 2026-01-01 12:00:00Z'
LANGUAGE += " 2026-01-01T00:00:00Z urn:a:b / /A # + * \\ ^"
PIECES = st.sampled_from([*LANGUAGE.split(" "), " "])
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=16).map("".join)

READERS: list[Callable[[str], object]] = [
    lambda text: parse_q(text, expand, expand_values=["a"]),
    lambda text: parse_types(text, expand),
    parse_scope,
    parse_id_pattern,
    lambda text: parse_geo(text, "Point", [1, 2]),
    lambda text: parse_geo("within", "Polygon", text),
    lambda text: parse_geo("within", text, "[1,2]"),
]


def refusal(read: Callable[[str], object], text: str) -> Invalid | None:
    try:
        read(text)
    except Invalid as refused:
        return refused
    return None


@given(TEXTS)
@settings(max_examples=300)
def test_any_text_is_a_question_or_invalid(text: str) -> None:
    for read in READERS:
        refused = refusal(read, text)
        assert refused is None or (refused.field and refused.rule)


NAMES = st.sampled_from(["a", "b", "c"])
PLAIN_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.booleans() | NUMBERS | PLAIN_TEXT.filter(lambda text: questions.moment(text) is None)
PATHS = st.builds(
    Path, NAMES.map(expand), st.lists(NAMES.map(expand), max_size=2).map(tuple), st.just(()) | st.just(("k",))
)
EQUALITIES = st.builds(
    Compare,
    PATHS,
    st.sampled_from(["==", "!="]),
    SCALARS
    | st.lists(SCALARS, min_size=2, max_size=3).map(lambda values: AnyOf(tuple(values)))
    | st.tuples(NUMBERS, NUMBERS).map(lambda ends: Range(*ends)),
)
ORDERS = st.builds(Compare, PATHS, st.sampled_from([">", ">=", "<", "<="]), NUMBERS | st.just("text"))
FITS = st.builds(Compare, PATHS, st.sampled_from(["~=", "!~="]), st.sampled_from(["^a", "b|c", "[xy]+"]).map(Pattern))
TERMS = st.builds(Exists, PATHS) | EQUALITIES | ORDERS | FITS
LINKS = st.builds(Linked, NAMES.map(expand), st.just(()) | st.just(("x:T",)), TERMS)
TREES: st.SearchStrategy[Node] = st.recursive(
    TERMS | LINKS,
    lambda inner: st.lists(inner, min_size=2, max_size=3).flatmap(
        lambda parts: st.sampled_from([And(tuple(parts)), Or(tuple(parts))])
    ),
    max_leaves=8,
)


def written_value(value: object) -> str:
    match value:
        case bool():
            return json.dumps(value)
        case Range(low, high):
            return f"{written_value(low)}..{written_value(high)}"
        case AnyOf(values):
            return ",".join(map(written_value, values))
        case Pattern():
            return json.dumps(value.source)
        case When(text=text):
            return json.dumps(text)
    return json.dumps(value)


def written_path(path: Path) -> str:
    keys = f"[{'.'.join(path.keys)}]" if path.keys else ""
    return ".".join(name[2:] for name in (path.attr, *path.subs)) + keys


def written(node: Node) -> str:
    """The text of a tree, with parentheses around every And and Or."""
    match node:
        case And(parts):
            return "(" + ";".join(map(written, parts)) + ")"
        case Or(parts):
            return "(" + "|".join(map(written, parts)) + ")"
    return "".join(written_term(node))


def written_term(node: Node) -> tuple[str, str]:
    """The path of a term, and what stands behind it."""
    match node:
        case Exists(path):
            return written_path(path), ""
        case Compare(path, op, value):
            return written_path(path), op + written_value(value)
        case Linked(attr, types, part):
            inside, behind = written_term(part)
            hint = ",".join(each[2:] for each in types) + ":" if types else ""
            return f"{attr[2:]}{{{hint}{inside}}}", behind
    raise AssertionError(node)


@given(TREES)
@settings(max_examples=200)
def test_a_tree_that_is_written_down_is_read_back(tree: Node) -> None:
    assert repr(parse_q(written(tree), expand)) == repr(tree)


def joined(leaves: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Trees of And and Or over these."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda parts: st.sampled_from([And(tuple(parts)), Or(tuple(parts))])
        ),
        max_leaves=8,
    )


LEVELS = st.lists(st.sampled_from(["north", "Бухоро", "a_1", "+"]), max_size=4)
SCOPES = joined(st.builds(lambda levels, below: ScopeIs(tuple(levels), below or not levels), LEVELS, st.booleans()))
TYPES = joined(st.builds(TypeIs, NAMES.map(expand)))


def written_selection(node: Node) -> str:
    """The text of a tree of scopes or types."""
    match node:
        case And(parts):
            return "(" + ";".join(map(written_selection, parts)) + ")"
        case Or(parts):
            return "(" + "|".join(map(written_selection, parts)) + ")"
        case TypeIs(iri):
            return iri[2:]
        case ScopeIs(levels, below):
            return "".join("/" + level for level in levels) + ("/#" if below else "")
    raise AssertionError(node)


@given(SCOPES, TYPES)
@settings(max_examples=200)
def test_a_selection_of_scopes_or_types_that_is_written_down_is_read_back(scopes: Node, types: Node) -> None:
    assert parse_scope(written_selection(scopes)) == scopes
    assert parse_types(written_selection(types), expand) == types


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | PLAIN_TEXT
    | st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "a", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "@value"]), inner, max_size=2),
    max_leaves=5,
)
URIS = st.sampled_from(["urn:1", "urn:2"])


def instances(under: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    kinds: list[st.SearchStrategy[dict[str, Any]]] = [
        st.fixed_dictionaries({"type": st.just("Property"), "value": VALUES}),
        st.fixed_dictionaries({"type": st.just("JsonProperty"), "json": VALUES}),
        st.fixed_dictionaries({"type": st.just("ListProperty"), "valueList": st.lists(VALUES, max_size=3)}),
        st.fixed_dictionaries({"type": st.just("Relationship"), "object": URIS | st.lists(URIS, min_size=1)}),
        st.fixed_dictionaries({"type": st.just("ListRelationship"), "objectList": st.lists(URIS)}),
        st.fixed_dictionaries({"type": st.just("VocabProperty"), "vocab": PLAIN_TEXT | st.lists(PLAIN_TEXT)}),
        st.fixed_dictionaries(
            {
                "type": st.just("LanguageProperty"),
                "languageMap": st.dictionaries(st.sampled_from(["k", "en"]), PLAIN_TEXT | st.lists(PLAIN_TEXT)),
            }
        ),
    ]
    return st.tuples(st.one_of(kinds), st.just({}) | under).map(
        lambda two: two[0] | ({"attrs": two[1]} if two[1] else {})
    )


ATTRIBUTES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda under: st.dictionaries(NAMES.map(expand), st.lists(instances(under), min_size=1, max_size=2), max_size=3),
    max_leaves=3,
)
DOCUMENTS = st.builds(
    lambda attrs: {"id": "urn:1", "type": ["x:T"], "createdAt": 1, "modifiedAt": 2, "attrs": attrs}, ATTRIBUTES
)


@given(TREES, DOCUMENTS, DOCUMENTS)
@settings(max_examples=300)
def test_every_question_has_an_answer_on_every_document(tree: Node, doc: dict[str, Any], other: dict[str, Any]) -> None:
    answer = matches_q(tree, doc, lambda _: other)
    assert isinstance(answer, bool)
    assert matches(Query(q=tree), doc, lambda _: other) is answer


@given(PATHS, SCALARS, instances(st.just({})))
@settings(max_examples=300)
def test_one_instance_is_equal_or_unequal_and_never_both(path: Path, value: Any, one: dict[str, Any]) -> None:
    doc = {"id": "urn:1", "type": ["x:T"], "attrs": {path.attr: [one]}}
    equal, unequal = matches_q(Compare(path, "==", value), doc), matches_q(Compare(path, "!=", value), doc)
    assert (equal != unequal) is matches_q(Exists(path), doc)
    assert not (equal and unequal)


# A subset that this matcher and Python's own mean alike.
ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\.", "(a|b)", "(ab|a)", "(a|)", "^", "$"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{0,1}"])


@given(st.lists(st.tuples(ATOMS, REPEATS), min_size=1, max_size=5), st.text("ab.\n", max_size=8))
@settings(max_examples=400)
def test_a_pattern_finds_what_python_finds(pieces: list[tuple[str, str]], text: str) -> None:
    source = "".join(atom + (repeat if atom not in "^$" else "") for atom, repeat in pieces)
    expected = re.search(source.replace("$", r"\Z"), text, re.DOTALL) is not None
    assert Pattern(source).matches(text) is expected


POSITIONS = st.tuples(st.integers(-5, 5), st.integers(-5, 5)).map(list)
RINGS = st.lists(POSITIONS, min_size=3, max_size=6).map(lambda ring: [*ring, ring[0]])
GEOMETRIES = st.one_of(
    POSITIONS.map(lambda found: ("Point", found)),
    st.lists(POSITIONS, min_size=1, max_size=4).map(lambda found: ("MultiPoint", found)),
    st.lists(POSITIONS, min_size=2, max_size=5).map(lambda found: ("LineString", found)),
    RINGS.map(lambda found: ("Polygon", [found])),
    st.lists(RINGS, min_size=1, max_size=2).map(lambda found: ("MultiPolygon", [[ring] for ring in found])),
)
RELATIONS = [
    "within",
    "contains",
    "overlaps",
    "intersects",
    "equals",
    "disjoint",
    "near;maxDistance==300000",
    "near;minDistance==300000",
]


METRES = st.floats(1e-3, 1e7) | st.integers(1, 10**7)
RELATED = st.sampled_from(RELATIONS[:6]) | st.builds(
    lambda least, metres: f"near;{least}Distance=={metres!r}", st.sampled_from(["min", "max"]), METRES
)


@given(RELATED, GEOMETRIES, st.booleans())
@settings(max_examples=200)
def test_a_geo_query_that_is_written_down_is_read_back(relation: str, place: tuple[str, Any], as_text: bool) -> None:
    kind, coordinates = place
    assume(shapely.geometry.shape({"type": kind, "coordinates": coordinates}).is_valid)  # others are mended first
    read = parse_geo(relation, kind, json.dumps(coordinates) if as_text else coordinates, "x:place")
    shape = shapely.geometry.mapping(read.shape)
    again = json.loads(json.dumps({"type": shape["type"], "coordinates": shape["coordinates"]}))
    near = "near;minDistance" if read.min_m is not None else "near;maxDistance"
    said = f"{near}=={(read.min_m or read.max_m)!r}" if read.rel == "near" else read.rel
    second = parse_geo(said, again["type"], again["coordinates"], read.attr)
    assert (second.rel, second.min_m, second.max_m, second.attr) == (read.rel, read.min_m, read.max_m, "x:place")
    assert shapely.equals_exact(second.shape, read.shape)
    assert second.box == read.box
    assert again["type"] == kind
    if read.rel == "near":
        assert float(relation.rpartition("==")[2]) == (read.min_m or read.max_m)


@given(GEOMETRIES, GEOMETRIES)
@settings(max_examples=150)
def test_every_place_has_an_answer_and_intersects_or_is_disjoint(a: tuple[str, Any], b: tuple[str, Any]) -> None:
    doc = {"attrs": {questions.LOCATION: [{"type": "GeoProperty", "value": {"type": a[0], "coordinates": a[1]}}]}}
    answers = {relation: matches_geo(parse_geo(relation, *b), doc) for relation in RELATIONS}
    assert answers["intersects"] != answers["disjoint"]
    assert answers["near;maxDistance==300000"] != answers["near;minDistance==300000"]
    if answers["within"] or answers["contains"] or answers["equals"] or answers["overlaps"]:
        assert answers["intersects"]
    if answers["intersects"]:
        assert answers["near;maxDistance==300000"]


@given(GEOMETRIES, GEOMETRIES)
@settings(max_examples=100)
def test_distance_is_the_same_there_and_back(a: tuple[str, Any], b: tuple[str, Any]) -> None:
    there, back = (places.shape({"type": each[0], "coordinates": each[1]}) for each in (a, b))
    assert abs(places.within_metres(there, back) - places.within_metres(back, there)) < 1.0
