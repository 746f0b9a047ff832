"""Linked entities: within or behind the linking ones, by what is shown, bounded, and only those that may be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shahar.model import linking, projection, render
from shahar.model import query as q
from shahar.model.context import CORE
from shahar.model.entity import Doc, parse_entity
from shahar.model.linking import LINKED_MAX, Join
from shahar.model.render import Form, View
from shahar.values.errors import TooComplex

D = "https://uri.etsi.org/ngsi-ld/default-context/"


def thing(tail: str, **attributes: Any) -> Doc:
    """An entity of type T; a text that begins with "urn:" is a relationship."""
    read = {
        key: {"object": value} if isinstance(value, str) and value.startswith("urn:") else value
        for key, value in attributes.items()
    }
    return {**parse_entity({"id": f"urn:t:{tail}", "type": "T", **read}, CORE), "createdAt": 0, "modifiedAt": 0}


def city(*docs: Doc) -> tuple[dict[str, Doc], list[list[str]]]:
    """Entities by id, and a place to note what was asked for."""
    return {doc["id"]: doc for doc in docs}, []


def answer(
    store: dict[str, Doc], join: Join, view: View, *names: str, asked: list[list[str]] | None = None
) -> list[dict[str, Any]]:
    """What is shown of the named entities."""

    def fetch(ids: Sequence[str]) -> list[Doc]:
        if asked is not None:
            asked.append(list(ids))
        return [store[each] for each in ids if each in store]

    docs = [store[f"urn:t:{name}"] for name in names]
    linked = linking.walk(docs, view, join, fetch)
    if join.form == "inline":
        return [render.entity(doc, view) for doc in linking.embed(docs, view, join, linked)]
    return [render.entity(doc, under) for doc, under in [*((doc, view) for doc in docs), *linked.behind]]


def view(pick: str | None = None, omit: str | None = None, **members: Any) -> View:
    """A simplified view with a projection."""
    return render.through(projection.parse(pick, omit, CORE.expand), View(CORE, form="simplified", **members))


STORE, _ = city(
    thing("house", at="urn:t:town", name="H"),
    thing("town", at="urn:t:land", name="T"),
    thing("land", name="L"),
    thing("ring", at="urn:t:gnir"),
    thing("gnir", at="urn:t:ring"),
)


def test_inline_puts_the_linked_entity_into_its_relationship() -> None:
    (shown,) = answer(STORE, Join("inline"), view("id,at"), "house")
    assert shown == {"id": "urn:t:house", "at": {"id": "urn:t:town", "type": "T", "at": "urn:t:land", "name": "T"}}


def test_flat_appends_what_is_linked_level_by_level_and_each_once() -> None:
    shown = answer(STORE, Join("flat", 2), view(), "house", "town")
    assert [one["id"] for one in shown] == ["urn:t:house", "urn:t:town", "urn:t:land"]


def test_normalised_and_concise_name_the_entity_beside_its_id() -> None:
    forms: tuple[Form, ...] = ("normalized", "concise")
    for form in forms:
        (shown,) = answer(STORE, Join("inline"), View(CORE, form=form), "town")
        assert (shown["at"]["object"], shown["at"]["entity"]["id"]) == ("urn:t:land", "urn:t:land")


def test_braces_say_what_is_shown_of_linked_entities() -> None:
    chain = Join("inline", 2)
    (shown,) = answer(STORE, chain, view("at{id,at{name}}"), "house")
    assert shown == {"at": {"id": "urn:t:town", "at": {"name": "L"}}}
    (shown,) = answer(STORE, chain, view(None, "type,at{name,at{id,type}}"), "house")
    assert shown == {"id": "urn:t:house", "at": {"id": "urn:t:town", "type": "T", "at": {"name": "L"}}, "name": "H"}


def test_a_relationship_that_is_not_shown_is_not_followed() -> None:
    asked: list[list[str]] = []
    shown = answer(STORE, Join("flat", 2), view("id,name"), "house", asked=asked)
    assert (len(shown), asked) == (1, [])


def test_what_is_not_there_leaves_its_id() -> None:
    store, _ = city(thing("a", at="urn:t:nobody"))
    assert answer(store, Join("inline"), view("at"), "a") == [{"at": "urn:t:nobody"}]
    (shown,) = answer(store, Join("inline"), View(CORE), "a")
    assert "entity" not in shown["at"]


def test_a_linked_entity_of_which_nothing_is_left_leaves_its_id() -> None:
    assert answer(STORE, Join("inline"), view("at{nothing}"), "house") == [{"at": "urn:t:town"}]


def test_several_objects_become_several_entities_in_their_order() -> None:
    store, _ = city(
        thing("a", many={"object": ["urn:t:land", "urn:t:no", "urn:t:town"]}, row={"objectList": ["urn:t:land"]}),
        STORE["urn:t:land"],
        STORE["urn:t:town"],
    )
    (shown,) = answer(store, Join("inline"), View(CORE), "a")
    assert [one["id"] for one in shown["many"]["entity"]] == ["urn:t:land", "urn:t:town"]
    assert [one["id"] for one in shown["row"]["entityList"]] == ["urn:t:land"]
    (shown,) = answer(store, Join("inline"), view("many"), "a")
    assert [one if isinstance(one, str) else one["id"] for one in shown["many"]] == [
        "urn:t:land",
        "urn:t:no",
        "urn:t:town",
    ]


def test_a_circle_ends_where_it_closes() -> None:
    (shown,) = answer(STORE, Join("inline", 8), view("id,at"), "ring")
    assert shown["at"]["at"] == "urn:t:ring"
    assert len(answer(STORE, Join("flat", 8), view(), "ring")) == 2


def test_what_the_caller_has_met_is_not_brought_in_again() -> None:
    for join in (Join("inline", 2, frozenset({"urn:t:town"})), Join("flat", 2, frozenset({"urn:t:town"}))):
        (shown,) = answer(STORE, join, view("at"), "house")
        assert shown == {"at": "urn:t:town"}


def test_more_than_the_bound_is_refused_before_it_is_read() -> None:
    ids = [f"urn:t:{at}" for at in range(LINKED_MAX + 1)]
    store, asked = city(thing("a", many={"object": ids}))
    for join in (Join("inline"), Join("flat")):
        with pytest.raises(TooComplex):
            answer(store, join, view(), "a", asked=asked)
    assert asked == []


def test_a_web_of_circles_is_bounded_as_it_is_written_out() -> None:
    names = [f"n{at}" for at in range(12)]
    store, _ = city(*(thing(name, many={"object": [f"urn:t:{each}" for each in names]}) for name in names))
    with pytest.raises(TooComplex):
        answer(store, Join("inline", 8), view(), "n0")
    assert len(answer(store, Join("flat", 8), view(), "n0")) == 12


def test_a_condition_on_linked_entities_is_narrowed_to_types_at_every_step() -> None:
    types = q.TypeIs(D + "T")
    inner, outer = D + "b", D + "a"
    plain = q.parse_q("name==2", CORE.expand)
    asked = q.Or((q.Linked(outer, (), q.Linked(inner, (), plain)), plain))
    expected = q.Linked(outer, (), q.And((types, q.Linked(inner, (), q.And((types, plain))))))
    assert linking.within(asked, types) == q.Or((expected, plain))


def test_whoever_fetches_in_a_way_of_their_own_is_told_ids_and_types_level_by_level() -> None:
    typed = {"type": "Relationship", "object": ["urn:t:a", "urn:t:b"], "objectType": ["X", "Y"]}
    start = thing("s", one=typed, other="urn:t:a", more={"object": "urn:t:c", "objectType": "Z"})
    going = linking.hops([start], view(), Join("flat", 3, frozenset({"urn:t:c"})))
    both = (D + "X", D + "Y")
    assert next(going) == {"urn:t:a": both, "urn:t:b": both}
    assert going.send([thing("b", back="urn:t:s", on="urn:t:d")]) == {"urn:t:d": ()}
    with pytest.raises(StopIteration) as end:
        going.send([])
    assert [doc["id"] for doc, _ in end.value.value.behind] == ["urn:t:b"]
