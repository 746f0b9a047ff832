"""Scoped contexts and aliases of keywords, rule by rule: where a name means what, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shahar.model import linking
from shahar.model.context import CORE, compile_context
from shahar.model.definitions import addresses
from shahar.model.entity import CREATE, Doc, parse_entity, parse_instances
from shahar.model.evolution import read, shown
from shahar.model.federation import conformed, portion, recast, received
from shahar.model.pasts import received_past
from shahar.model.render import View, entity
from shahar.model.told import Whole, read_whole
from shahar.values.bounds import CONTEXT_CHAIN, CONTEXT_LEVELS, CONTEXT_SCOPES, CONTEXT_TERMS
from shahar.values.errors import ContextUnavailable, Invalid

D = "https://uri.etsi.org/ngsi-ld/default-context/"
C = "https://car.example/"
CITY: dict[str, Any] = {
    "Car": {"@id": C + "Car", "@context": {"speed": C + "carSpeed", "plate": C + "plate"}},
    "Wind": {"@id": C + "Wind", "@context": {"speed": C + "windSpeed"}},
    "speed": C + "speed",
    "accuracy": C + "accuracy",
    "colour": {"@id": C + "colour", "@context": {"red": C + "red", "accuracy": C + "colourAccuracy"}},
    "kind": "@type",
    "ident": "@id",
}
ONE = {"value": 1}


def read_in(source: Any, body: dict[str, Any]) -> Doc:
    """The document of a body in a context."""
    return parse_entity({"id": "urn:e:1", "type": "Car", **body}, compile_context(source, {}))


def names(source: Any, body: dict[str, Any]) -> list[str]:
    """The attributes of a body in a context, without what stands before the last slash."""
    return [iri.rpartition("/")[2] for iri in read_in(source, body)["attrs"]]


def subs(source: Any, name: str, body: dict[str, Any]) -> list[str]:
    """The attributes of the attribute `name`."""
    (instances,) = read_in(source, {name: {"value": 1, **body}})["attrs"].values()
    return [iri.rpartition("/")[2] for iri in instances[0]["attrs"]]


# -- scopes of types --------------------------------------------------------------------------------------------------


def test_the_scope_of_a_type_names_the_attributes_of_its_entities() -> None:
    assert names(CITY, {"type": "Car", "speed": 1, "plate": 2}) == ["carSpeed", "plate"]
    assert names(CITY, {"type": "Wind", "speed": 1, "plate": 2}) == ["windSpeed", "plate"]
    assert read_in(CITY, {"type": "Wind", "plate": 2})["attrs"].keys() == {D + "plate"}
    assert read_in(CITY, {"type": "Bus", "speed": 2})["attrs"].keys() == {C + "speed"}


def test_a_type_that_is_not_written_by_its_term_has_no_scope() -> None:
    assert names(CITY, {"type": C + "Car", "speed": 1}) == ["speed"]


def test_of_the_scopes_of_several_types_the_last_of_the_alphabet_wins() -> None:
    assert names(CITY, {"type": ["Wind", "Car"], "speed": 1, "plate": 1}) == ["windSpeed", "plate"]


def test_the_scope_of_a_type_ends_at_the_attribute_unless_it_says_otherwise() -> None:
    assert subs(CITY, "speed", {"speed": ONE}) == ["speed"]
    wide = CITY | {"Car": {"@id": C + "Car", "@context": {"@propagate": True, "speed": C + "carSpeed"}}}
    assert subs(wide, "speed", {"speed": ONE}) == ["carSpeed"]


def test_types_themselves_are_read_outside_their_scopes() -> None:
    source = {"Car": {"@id": C + "Car", "@context": {"Car": C + "Other", "Wind": C + "Other"}}, "Wind": C + "Wind"}
    assert read_in(source, {"type": ["Car", "Wind"]})["type"] == [C + "Car", C + "Wind"]


def test_a_fragment_that_does_not_say_its_type_is_read_without_its_scope() -> None:
    context = compile_context(CITY, {})
    assert parse_entity({"speed": 1}, context, entity_id="urn:e:1")["attrs"].keys() == {C + "speed"}


# -- scopes of attributes ---------------------------------------------------------------------------------------------


def test_the_scope_of_an_attribute_names_what_stands_in_it_and_below() -> None:
    doc = read_in(CITY, {"colour": {"vocab": "red", "accuracy": {"value": 1, "accuracy": ONE}}})
    assert doc["attrs"][C + "colour"][0] == {
        "type": "VocabProperty",
        "vocab": C + "red",
        "attrs": {
            C + "colourAccuracy": [
                {
                    "type": "Property",
                    "value": 1,
                    "attrs": {C + "colourAccuracy": [{"type": "Property", "value": 1}]},
                }
            ]
        },
    }
    assert read_in(CITY, {"speed": {"vocab": ["red"]}})["attrs"][C + "carSpeed"][0]["vocab"] == [D + "red"]


def test_the_scope_of_an_attribute_may_end_at_the_next() -> None:
    near = {"colour": {"@id": C + "colour", "@context": {"@propagate": False, "accuracy": C + "near"}}}
    assert subs(near, "colour", {"accuracy": {"value": 1, "accuracy": ONE}}) == ["near"]
    doc = read_in(near, {"colour": {"value": 1, "accuracy": {"value": 1, "accuracy": ONE}}})
    (inner,) = doc["attrs"][C + "colour"][0]["attrs"][C + "near"]
    assert inner["attrs"].keys() == {D + "accuracy"}


def test_the_scope_of_a_type_may_give_attributes_scopes() -> None:
    inner = {"speed": {"@id": C + "carSpeed", "@context": {"accuracy": C + "radarAccuracy"}}}
    source = CITY | {"Car": {"@id": C + "Car", "@context": inner}}
    assert subs(source, "speed", {"accuracy": ONE}) == ["radarAccuracy"]
    assert subs(source, "accuracy", {"accuracy": ONE}) == ["accuracy"]


def test_the_scope_of_an_attribute_reaches_all_its_instances() -> None:
    several = [{"value": 1, "accuracy": ONE}, {"value": 2, "datasetId": "urn:d:1", "accuracy": ONE}]
    doc = read_in(CITY, {"colour": several})
    assert [list(one["attrs"]) for one in doc["attrs"][C + "colour"]] == [[C + "colourAccuracy"]] * 2


def test_values_are_opaque() -> None:
    doc = read_in(CITY, {"colour": {"value": {"kind": "red", "accuracy": 1}}, "plate": {"kind": "red", "ident": 1}})
    assert doc["attrs"][C + "colour"][0]["value"] == {"kind": "red", "accuracy": 1}
    assert doc["attrs"][C + "plate"][0]["value"] == {"kind": "red", "ident": 1}


def test_types_of_related_entities_are_read_in_the_scope_of_the_relationship() -> None:
    source = {"owner": {"@id": C + "owner", "@context": {"Human": C + "Human"}}}
    doc = read_in(source, {"owner": {"object": "urn:h:1", "objectType": "Human"}})
    assert doc["attrs"][C + "owner"][0]["objectType"] == [C + "Human"]


# -- null, protected, core --------------------------------------------------------------------------------------------


def test_null_in_a_scope_ends_all_that_was_said_but_the_core() -> None:
    source = {"speed": C + "speed", "colour": {"@id": C + "colour", "@context": [None, {"red": C + "red"}]}}
    assert subs(source, "colour", {"speed": ONE, "red": ONE, "location": ONE}) == ["speed", "red", "location"]
    doc = read_in(source, {"colour": {"value": 1, "speed": ONE, "red": ONE, "location": ONE}})
    assert doc["attrs"][C + "colour"][0]["attrs"].keys() == {
        D + "speed",
        C + "red",
        "https://uri.etsi.org/ngsi-ld/location",
    }


def test_null_in_the_scope_of_a_type_ends_with_the_entity() -> None:
    source = {"speed": C + "speed", "Car": {"@id": C + "Car", "@context": None}}
    doc = read_in(source, {"speed": {"value": 1, "speed": ONE}})
    assert doc["attrs"].keys() == {D + "speed"}
    assert doc["attrs"][D + "speed"][0]["attrs"].keys() == {C + "speed"}


def test_null_in_a_list_ends_what_stands_before_it() -> None:
    context = compile_context([{"a": C + "a"}, None, {"b": C + "b"}], {})
    assert (context.expand("a"), context.expand("b")) == (D + "a", C + "b")


def test_no_scope_redefines_the_core() -> None:
    source = {
        "Car": {
            "@id": C + "Car",
            "@context": {"location": C + "place", "value": C + "v", "@vocab": C, "type": C + "t"},
        },
        "location": {"@id": C + "location", "@context": {"accuracy": C + "never"}},
    }
    doc = read_in(source, {"location": {"type": "Property", "value": 1, "accuracy": ONE}, "new": {"value": 1}})
    assert doc["attrs"].keys() == {"https://uri.etsi.org/ngsi-ld/location", D + "new"}
    assert doc["attrs"]["https://uri.etsi.org/ngsi-ld/location"][0]["attrs"].keys() == {D + "accuracy"}


def test_vocab_of_a_scope_is_for_the_terms_of_the_scope() -> None:
    source = {"Car": {"@id": C + "Car", "@context": {"@vocab": C + "cars#", "speed": {}, "plate": "number"}}}
    assert names(source, {"speed": 1, "plate": 1}) == ["cars#speed", "cars#number"]


def test_a_scope_sees_the_prefixes_around_it_and_those_of_its_own() -> None:
    source = {
        "Car": {"@id": C + "Car", "@context": {"speed": "ex:speed", "own": "https://o.example/", "plate": "own:plate"}},
        "ex": "https://x.example/",
    }
    doc = read_in(source, {"speed": 1, "plate": 1, "own:x": 1, "ex:y": 1})
    assert doc["attrs"].keys() == {
        "https://x.example/speed",
        "https://o.example/plate",
        "https://o.example/x",
        "https://x.example/y",
    }


def test_a_protected_term_keeps_its_definition() -> None:
    protected = {"@protected": True, "speed": C + "speed"}
    again = compile_context([protected, {"speed": C + "speed"}], {})
    assert again.expand("speed") == C + "speed"
    for other in ({"speed": C + "other"}, {"speed": None}, {"speed": {"@id": C + "speed", "@type": "@id"}}, None):
        with pytest.raises(Invalid):
            compile_context([protected, other], {})
    free = {"@protected": True, "speed": {"@id": C + "speed", "@protected": False}}
    assert compile_context([free, {"speed": C + "other"}], {}).expand("speed") == C + "other"


def test_the_scope_of_a_type_keeps_protected_terms_that_of_an_attribute_need_not() -> None:
    around = {"@protected": True, "speed": C + "speed"}
    for scope in ({"speed": C + "other"}, None):
        typed = [around, {"Car": {"@id": C + "Car", "@context": scope}}]
        with pytest.raises(Invalid, match="protected"):
            read_in(typed, {"speed": 1})
        placed = [around, {"colour": {"@id": C + "colour", "@context": scope}}]
        assert subs(placed, "colour", {"speed": ONE}) == ["other" if scope else "speed"]
    same = [around, {"Car": {"@id": C + "Car", "@context": {"speed": C + "speed"}}}]
    assert names(same, {"speed": 1}) == ["speed"]


# -- aliases of keywords ----------------------------------------------------------------------------------------------


def test_a_name_of_id_and_type_stands_for_them() -> None:
    context = compile_context(CITY, {})
    doc = parse_entity({"ident": "urn:e:1", "kind": "Car", "speed": {"kind": "Property", "value": 5}}, context)
    assert doc == {
        "id": "urn:e:1",
        "type": [C + "Car"],
        "attrs": {C + "carSpeed": [{"type": "Property", "value": 5}]},
    }


def test_an_alias_may_be_told_by_another() -> None:
    context = compile_context({"id": "@id", "ident": "id", "number": "ident"}, {})
    assert parse_entity({"number": "urn:e:1", "type": "T"}, context)["id"] == "urn:e:1"


def test_types_under_two_names_are_all_types() -> None:
    assert read_in(CITY, {"type": "Car", "kind": ["Wind"]})["type"] == [C + "Car", C + "Wind"]


def test_the_standards_own_names_are_written() -> None:
    context = compile_context(CITY, {})
    body = {"ident": "urn:e:1", "kind": "Car", "speed": {"kind": "Property", "value": 5}}
    assert entity(parse_entity(body, context), View(context)) == {
        "id": "urn:e:1",
        "type": "Car",
        "speed": {"type": "Property", "value": 5},
    }


def test_id_and_type_are_never_names_of_anything_else() -> None:
    source = {"id": C + "number", "type": "@id", "x": "id"}
    context = compile_context(source, {})
    assert context.plain
    assert parse_entity({"id": "urn:e:1", "type": "T"}, context) == {"id": "urn:e:1", "type": [D + "T"], "attrs": {}}
    assert context.compact(D + "type") == "ngsi-ld:default-context/type"
    assert context.compact(C + "number") == "x"


@pytest.mark.parametrize(
    "body",
    [
        {"ident": "urn:e:1"},
        {"graph": [{"value": 1}]},
        {"speed": {"type": "Property", "kind": "Property", "value": 1}},
        {"speed": {"ident": "urn:a:1", "value": 1}},
        {"speed": {"kind": ["Property"], "value": 1}},
        {"speed": {"vocab": "kind"}},
        {"type": "kind"},
    ],
)
def test_an_alias_where_its_keyword_has_no_place_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_in(CITY | {"graph": "@graph"}, body)


def test_a_name_of_a_keyword_is_no_attributes_name() -> None:
    with pytest.raises(Invalid, match="@type"):
        compile_context(CITY, {}).expand("kind")
    assert compile_context(CITY, {}).compact(D + "kind") == "ngsi-ld:default-context/kind"


def test_a_scope_may_give_names_to_keywords_and_take_them() -> None:
    source = CITY | {"Car": {"@id": C + "Car", "@context": {"number": "@id", "kind": C + "make", "sort": "@type"}}}
    context = compile_context(source, {})
    doc = parse_entity({"number": "urn:e:1", "type": "Car", "kind": "Wind", "sort": "Bus"}, context)
    assert (doc["id"], doc["type"]) == ("urn:e:1", [C + "Car", D + "Bus"])
    assert doc["attrs"] == {C + "make": [{"type": "Property", "value": "Wind"}]}
    assert entity(doc, View(context, "concise"))["kind"] == "Wind"
    assert parse_entity({"ident": "urn:e:1", "kind": "Car"}, context)["type"] == [C + "Car"]


# -- what is refused --------------------------------------------------------------------------------------------------


def scoped(scope: Any) -> dict[str, Any]:
    """A context whose one term has a scope."""
    return {"Car": {"@id": C + "Car", "@context": scope}}


@pytest.mark.parametrize(
    "source",
    [
        scoped(7),
        scoped([True]),
        scoped({"a": 5}),
        scoped({"a": "b:c", "b": "a:c"}),
        scoped({"@propagate": "yes"}),
        {"@protected": 1},
        {"a": {"@id": C + "a", "@protected": "no"}},
        {"a": "@context"},
        scoped({"a": {"@id": C + "a", "@context": {"b": {"@id": 5}}}}),
        scoped([{"@protected": True, "a": C + "a"}, None]),
        {"@import": "https://a.example/list"},
    ],
)
def test_nonsense_in_scopes_is_refused_before_anybody_uses_it(source: Any) -> None:
    with pytest.raises(Invalid):
        compile_context(source, {"https://a.example/list": [{}]})


def test_what_has_no_bound_is_refused() -> None:
    deep: Any = {}
    for _ in range(CONTEXT_LEVELS + 1):
        deep = scoped(deep)
    wide = {f"t{n}": {"@id": C + str(n), "@context": {}} for n in range(CONTEXT_SCOPES + 1)}
    many = {
        f"t{n}": {"@id": C + str(n), "@context": {f"s{m}": C for m in range(CONTEXT_TERMS // 10)}} for n in range(11)
    }
    chain = {f"t{n}": f"t{n + 1}:x" for n in range(CONTEXT_CHAIN + 1)} | {f"t{CONTEXT_CHAIN + 1}": C}
    for source in (deep, wide, many, chain):
        with pytest.raises(Invalid, match="too many"):
            compile_context(source, {})
    nested: Any = 7
    for _ in range(200):
        nested = [nested]
    with pytest.raises(Invalid):
        list(addresses(nested))


def test_bounds_are_not_passed_by_ending_what_was_said() -> None:
    deep: Any = {}
    for _ in range(CONTEXT_LEVELS + 1):
        deep = scoped([None, deep])
    with pytest.raises(Invalid, match="too many"):
        compile_context(deep, {})


def test_places_that_are_kept_are_bounded() -> None:
    scopes = {f"t{n}": {"@id": f"{C}{n}", "@context": {"x": f"{C}x{n}"}} for n in range(30)}
    context = compile_context(scopes, {})
    for first in scopes:
        for second in scopes:
            assert context.within(first).within(second).expand("x") == f"{C}x{second[1:]}"
    kept = list(context._places.values())
    assert sum(1 + len(one._places) for one in kept) <= 500


# -- remote ones ------------------------------------------------------------------------------------------------------


def test_a_scope_may_be_an_address() -> None:
    documents = {"https://a.example/car": {"speed": C + "carSpeed"}}
    source = scoped("https://a.example/car")
    assert list(addresses([source])) == ["https://a.example/car"]
    context = compile_context(source, documents)
    assert context.of_types(["Car"]).expand("speed") == C + "carSpeed"
    with pytest.raises(ContextUnavailable):
        compile_context(source, {})


def test_a_remote_scope_may_say_that_it_ends_but_not_that_it_goes_on() -> None:
    far: dict[str, Any] = {"accuracy": C + "far"}
    for says, expected in ((True, "far"), (False, "accuracy")):
        source = {"colour": {"@id": C + "colour", "@context": "https://a.example/c"}}
        context = compile_context(source, {"https://a.example/c": {"@propagate": says, **far}})
        assert context.within("colour").within("accuracy").expand("accuracy").endswith(expected)
        typed = compile_context(scoped("https://a.example/c"), {"https://a.example/c": {"@propagate": says, **far}})
        assert typed.of_types(["Car"]).within("x").expand("accuracy") == D + "accuracy"


def test_a_scope_that_leads_back_to_its_document_is_refused() -> None:
    with pytest.raises(Invalid, match="includes itself"):
        compile_context("https://a.example/c", {"https://a.example/c": scoped("https://a.example/c")})


def test_the_core_in_a_scope_is_never_fetched() -> None:
    core = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"
    assert list(addresses(scoped([core, {"a": C + "a"}]))) == []
    assert compile_context(scoped([core, {"a": C + "a"}]), {}).of_types(["Car"]).expand("a") == C + "a"


def test_an_import_is_one_with_what_imports_it() -> None:
    documents = {"https://a.example/i": {"a": "ex:a", "b": C + "b"}}
    context = compile_context({"@import": "https://a.example/i", "ex": "https://x.example/", "b": C + "c"}, documents)
    assert (context.expand("a"), context.expand("b")) == ("https://x.example/a", C + "c")


# -- everywhere that names are read or written ------------------------------------------------------------------------


def test_what_is_told_whole_is_what_is_read() -> None:
    context = compile_context(CITY, {})
    body = {"ident": "urn:e:1", "kind": "Car", "speed": {"kind": "Property", "value": 5}, "colour": {"vocab": "red"}}
    wish = read_whole("create", body, context, 7)
    assert isinstance(wish, Whole)
    assert [iri for iri, *_ in wish.lines] == [C + "carSpeed", C + "colour"]
    assert (wish.id, wish.types) == ("urn:e:1", (C + "Car",))


def test_one_attribute_is_read_in_its_own_scope() -> None:
    (one,) = parse_instances("colour", {"vocab": "red"}, compile_context(CITY, {}), CREATE)
    assert one["vocab"] == C + "red"


def test_the_past_is_told_and_shown_with_the_same_names() -> None:
    context = compile_context(CITY, {})
    at = "2026-01-01T00:00:00Z"
    accuracy = {"type": "Property", "value": 1}
    body: dict[str, Any] = {
        "ident": "urn:e:1",
        "kind": "Car",
        "speed": [{"kind": "Property", "values": [[1, at]]}],
        "colour": [{"type": "VocabProperty", "vocab": "red", "observedAt": at, "accuracy": accuracy}],
    }
    told = read(body, context)
    assert told.doc["attrs"].keys() == {C + "carSpeed", C + "colour"}
    again = shown(told.doc, told.doc["attrs"], View(context), "")
    assert (again["id"], again["type"]) == ("urn:e:1", "Car")
    assert again["colour"] == [{**body["colour"][0], "observedAt": at}]
    pairs = shown(told.doc, told.doc["attrs"], View(context, "simplified"), "")
    assert pairs["speed"] == {"type": "Property", "values": [[1, at]]}
    assert pairs["colour"]["vocabs"] == [[{"vocab": "red"}, at]]
    assert received_past(again, context)["attrs"].keys() == told.doc["attrs"].keys()


def test_what_a_source_sends_is_read_by_its_scopes_and_narrowed_by_them() -> None:
    context = compile_context(CITY, {})
    stamp = "2026-01-01T00:00:00Z"
    body = {
        "ident": "urn:e:1",
        "kind": "Car",
        "speed": {"kind": "Property", "value": 5, "modifiedAt": stamp},
        "plate": 1,
    }
    doc = received(body, context)
    assert doc["attrs"][C + "carSpeed"][0]["modifiedAt"] > 0
    assert portion(body, frozenset({C + "plate"}), context) == {"id": "urn:e:1", "type": "Car", "plate": 1}
    assert conformed({**body, "own": {"json": {}}}, context, "1.3")["speed"]["value"] == 5


def test_names_are_recast_from_scopes_to_scopes() -> None:
    old = compile_context(CITY, {})
    inner = {"v": {"@id": C + "carSpeed", "@context": {"acc": C + "accuracy"}}}
    new = compile_context({"Auto": {"@id": C + "Car", "@context": inner}}, {})
    body = {"ident": "urn:e:1", "kind": "Car", "speed": {"kind": "Property", "value": 5, "accuracy": {"value": 1}}}
    recasted = {"id": "urn:e:1", "type": "Auto", "v": {"type": "Property", "value": 5, "acc": {"value": 1}}}
    assert recast(body, old, new) == recasted
    assert recast([recasted], new, CORE) == [
        {"id": "urn:e:1", "type": C + "Car", C + "carSpeed": {"type": "Property", "value": 5, C + "accuracy": ONE}}
    ]


def test_an_entity_without_its_type_is_written_without_its_types_scope() -> None:
    context = compile_context(CITY, {})
    doc = read_in(CITY, {"speed": 5, "plate": 6})
    whole = entity(doc, View(context, "simplified"))
    assert whole.keys() == {"id", "type", "speed", "plate"}
    part = entity(doc, View(context, "simplified", omit=frozenset({"type"})))
    assert part.keys() == {"id", C + "carSpeed", C + "plate"}


def test_an_entity_in_a_relationship_is_written_by_the_scope_of_the_relationship() -> None:
    source = {"owner": {"@id": C + "owner", "@context": {"@propagate": True, "called": C + "name"}}}
    view = View(compile_context(source, {}))
    car = read_in(source, {"owner": {"object": "urn:h:1"}})
    human: Doc = {"id": "urn:h:1", "type": [D + "Human"], "attrs": {C + "name": [{"type": "Property", "value": "A"}]}}
    join = linking.Join("inline")
    linked = linking.walk([car], view, join, lambda _: [human])
    (found,) = linking.embed([car], view, join, linked)
    assert entity(found, view)["owner"]["entity"]["called"] == {"type": "Property", "value": "A"}
    assert C + "name" in entity(human, view)
