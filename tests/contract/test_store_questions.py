"""What SQL narrows and evaluation decides is what evaluation alone decides: random entities, random questions, random
pages and orders, with indexes and without."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from shahar.model import ordering
from shahar.model import query as q
from shahar.model.change import Change
from shahar.model.context import compile_context
from shahar.model.entity import Doc, parse_entity
from shahar.services.broker import Broker
from shahar.store import entities
from tests.engines import store_at

pytestmark = pytest.mark.anyio
AT: Final = 1_700_000_000_000_000
NAMES: Final = ("a", "b", "c", "d", "e")
CONTEXT: Final = compile_context({name: f"https://x.example/{name}" for name in (*NAMES, "T", "U", "V", "place")}, {})
NUMBERS: Final = [-3, -1, 0, 1, 2, 2.5, 7, 2**53]
TEXTS: Final = ["", "a", "b", "aa", "Ж", "urn:e:1", "2026-01-01T00:00:00Z", "2026-01-02"]
USUAL: Final = [0, 1, 2, "a"]
SCOPES: Final = ["/n", "/n/a", "/n/a/x", "/s", "/s/b"]
ENTITIES: Final = 160


def value_of(dice: random.Random) -> Any:
    """A property's value of any kind."""
    simple: Any = dice.choice(USUAL) if dice.random() < 0.6 else dice.choice([*NUMBERS, *TEXTS, True, False])
    match dice.randrange(6):
        case 0:
            return [simple, dice.choice(NUMBERS)]
        case 1:
            return {"k": simple, "l": {"k": dice.choice(NUMBERS)}}
    return simple


def attribute(dice: random.Random, depth: int = 0) -> dict[str, Any]:
    """One instance of any kind of attribute, with attributes of its own."""
    some: dict[str, Callable[[], dict[str, Any]]] = {
        "Property": lambda: {"value": value_of(dice)},
        "Relationship": lambda: {"object": dice.choice(["urn:e:1", "urn:e:2", ["urn:e:3", "urn:f:4"]])},
        "LanguageProperty": lambda: {"languageMap": {dice.choice(["en", "uz"]): dice.choice(["a", "b"])}},
        "VocabProperty": lambda: {"vocab": dice.choice(["a", ["b", "T"]])},
        "JsonProperty": lambda: {"json": {"k": dice.choice(NUMBERS)}},
        "ListProperty": lambda: {"valueList": [dice.choice(NUMBERS), dice.choice(TEXTS)]},
        "ListRelationship": lambda: {"objectList": ["urn:e:1", "urn:e:5"]},
        "GeoProperty": lambda: {"value": geometry(dice)},
    }
    kind = dice.choice(["Property"] * 8 + list(some))
    made = {"type": kind, **some[kind]()}
    if dice.random() < 0.3:
        made["observedAt"] = f"2026-01-0{dice.randrange(1, 5)}T00:00:00Z"
    if kind == "Property" and dice.random() < 0.3:
        made["unitCode"] = dice.choice(["GQ", "CEL"])
    if depth < 2 and dice.random() < 0.4:
        made[dice.choice(NAMES)] = attribute(dice, depth + 1)
    return made


def geometry(dice: random.Random) -> dict[str, Any]:
    """A point, a line or a square near the origin."""
    x, y = dice.randrange(-3, 4), dice.randrange(-3, 4)
    square = [[x, y], [x + 2, y], [x + 2, y + 2], [x, y + 2], [x, y]]
    shapes: list[tuple[str, Any]] = [("Point", [x, y]), ("LineString", square[:3]), ("Polygon", [square])]
    kind, coordinates = dice.choice(shapes)
    return {"type": kind, "coordinates": coordinates}


def entity(dice: random.Random, number: int) -> dict[str, Any]:
    """One entity; every second one has a place, some have instances by datasetId."""
    made: dict[str, Any] = {
        "id": f"urn:{dice.choice('ef')}:{number}",
        "type": dice.choice(["T", "U", ["T", "U"], ["U", "V"], "W"]),
    }
    for name in dice.sample(NAMES, dice.randrange(1, 5)):
        made[name] = attribute(dice)
        if dice.random() < 0.3:
            made[name] = [made[name], attribute(dice) | {"datasetId": "urn:d:1"}]
    for place in ("location", "place"):
        if dice.random() < 0.5:
            made[place] = {"type": "GeoProperty", "value": geometry(dice)}
    if dice.random() < 0.5:
        made["scope"] = dice.sample(SCOPES, dice.randrange(1, 3))
    return made


@dataclass(frozen=True, slots=True)
class Filled:
    """A store full of random entities, some changed and some deleted, and what should be in it, in order."""

    broker: Broker
    docs: list[Doc]

    def expected(self, query: q.Query) -> list[Doc]:
        """What evaluation alone finds."""
        by_id = {doc["id"]: doc for doc in self.docs}
        return [doc for doc in self.docs if q.matches(query, doc, by_id.get)]


@pytest.fixture(scope="module", params=[False, True], ids=["no index", "every index"])
async def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: str
) -> AsyncIterator[Filled]:
    """The same random city for all questions; each engine has its own."""
    assert engine
    dice = random.Random(20261122)
    db = store_at(tmp_path_factory.mktemp("asked") / "city.db")
    await db.open()
    broker = Broker(db)
    ids = []
    for number in range(ENTITIES):
        doc = parse_entity(entity(dice, number), CONTEXT)
        ids.append(doc["id"])
        await broker.change("", Change("create", doc["id"], doc), AT + number)
    for number in dice.sample(range(ENTITIES), ENTITIES // 4):
        doc = parse_entity(entity(dice, number) | {"id": ids[number]}, CONTEXT)
        await broker.change("", Change("replace", doc["id"], doc), AT + ENTITIES + number)
    for number in dice.sample(range(ENTITIES), ENTITIES // 10):
        await broker.change("", Change("delete", ids[number]), AT + 3 * ENTITIES)
        ids[number] = ""
    if request.param:
        for name in NAMES:
            await db.write(partial(entities.make_index, attr=CONTEXT.expand(name), at=AT))
    yield Filled(broker, [await broker.get("", entity_id) for entity_id in ids if entity_id])
    await db.close()


IRIS = st.sampled_from(NAMES).map(CONTEXT.expand)
MOMENTS = st.sampled_from(["observedAt", "createdAt", "modifiedAt", "unitCode"]).map(CONTEXT.expand)
SUBS = st.lists(IRIS, max_size=2).flatmap(lambda subs: st.just(tuple(subs)) | MOMENTS.map(lambda last: (*subs, last)))
PATHS = st.builds(q.Path, IRIS, st.just(()) | SUBS, st.just(()) | st.just(("k",)) | st.just(("en",)))
SCALARS: st.SearchStrategy[Any] = st.sampled_from([*NUMBERS, *TEXTS[:6], True, False, "a", "GQ"])
WHENS = st.integers(0, 3).map(lambda day: q.When("datetime", 1_767_225_600_000_000 + day * 86_400_000_000))
VALUES = st.one_of(
    SCALARS,
    WHENS,
    st.lists(SCALARS, min_size=2, max_size=3).map(tuple).map(q.AnyOf),
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)).map(lambda ends: q.Range(*sorted(ends))),
)
LEAVES: st.SearchStrategy[q.Node] = st.one_of(
    st.builds(q.Exists, PATHS),
    st.builds(q.Compare, IRIS.map(q.Path), st.just("=="), SCALARS),
    st.builds(q.Compare, PATHS, st.sampled_from(["==", "!="]), VALUES),
    st.builds(
        q.Compare,
        IRIS.map(q.Path) | PATHS,
        st.sampled_from([">", ">=", "<", "<="]),
        st.sampled_from([*NUMBERS, *TEXTS[:5]]) | WHENS,
    ),
    st.builds(q.Compare, PATHS, st.sampled_from(["~=", "!~="]), st.sampled_from(["^a", "[bЖ]", "e:1"]).map(q.Pattern)),
    st.builds(lambda attr, name, value: q.Linked(attr, (), q.Compare(q.Path(name), "==", value)), IRIS, IRIS, SCALARS),
)


def joined(leaves: st.SearchStrategy[q.Node], most: int = 4) -> st.SearchStrategy[q.Node]:
    """Trees of And and Or over these."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda parts: st.sampled_from([q.And(tuple(parts)), q.Or(tuple(parts))])
        ),
        max_leaves=most,
    )


POINTS = st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(list)
BOXES = POINTS.map(lambda at: [[at, [at[0] + 2, at[1]], [at[0] + 2, at[1] + 3], [at[0], at[1] + 3], at]])
GEO = st.builds(
    lambda relation, shape, attr: q.parse_geo(relation, shape[0], shape[1], CONTEXT.expand(attr)),
    st.sampled_from(
        [
            *("within", "contains", "overlaps", "intersects", "equals", "disjoint"),
            *("near;maxDistance==150000", "near;minDistance==150000"),
        ]
    ),
    POINTS.map(lambda at: ("Point", at)) | BOXES.map(lambda box: ("Polygon", box)),
    st.sampled_from(["location", "place", "a"]),
)
TYPES = joined(st.sampled_from(["T", "U", "V", "W", "none"]).map(lambda name: q.TypeIs(CONTEXT.expand(name))))
SCOPED = joined(st.sampled_from(["/n", "/n/#", "/+/a", "/s/b", "/#"]).map(q.parse_scope))
IDS = st.lists(st.integers(0, ENTITIES + 5), max_size=20).map(
    lambda numbers: tuple(f"urn:{letter}:{number}" for number in numbers for letter in "ef")
)


def perhaps(strategy: st.SearchStrategy[Any], empty: Any = None) -> st.SearchStrategy[Any]:
    """It, or more often nothing."""
    return st.one_of(st.just(empty), st.just(empty), strategy)


NARROWED = st.one_of(
    st.builds(lambda geo: q.Query(geo=geo), GEO),
    st.builds(
        lambda name, op, value: q.Query(q=q.Compare(q.Path(name), op, value)),
        IRIS,
        st.sampled_from(["==", ">", ">=", "<", "<="]),
        st.sampled_from(USUAL),
    ),
)
"""What an index answers by itself, which the others seldom come to."""
QUERIES = NARROWED | st.builds(
    q.Query,
    ids=perhaps(IDS, ()),
    id_pattern=perhaps(st.sampled_from(["^urn:e", ":1", "[05]$"]).map(q.parse_id_pattern)),
    types=perhaps(TYPES),
    attrs=perhaps(st.lists(IRIS, min_size=1, max_size=2, unique=True).map(tuple), ()),
    q=st.none() | joined(LEAVES),
    scope=perhaps(SCOPED),
    geo=perhaps(GEO),
)
ORDERS = perhaps(
    st.sampled_from(["id", "id;desc", "type;desc", "a", "b;desc", "a.b", "c,id;desc", "createdAt;desc", "modifiedAt,a"])
    | st.sampled_from(["location;dist-asc", "place;dist-desc,id"]),
    "",
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@for_all(query=QUERIES, order=ORDERS, limit=st.integers(0, 40), offset=st.integers(0, 30), count=st.booleans())
async def test_a_page_is_what_evaluation_alone_would_give(
    filled: Filled, query: q.Query, order: str, limit: int, offset: int, count: bool
) -> None:
    terms = ordering.parse(order, CONTEXT.expand, "[0,0]") if order else ()
    found = filled.expected(query)
    if terms:
        found = ordering.arrange([(ordering.keys(terms, doc), doc) for doc in found], terms)
    page = await filled.broker.find("", query, limit=limit, offset=offset, count=count, order=terms)
    assert [doc["id"] for doc in page.docs] == [doc["id"] for doc in found[offset : offset + limit]]
    assert page.docs == found[offset : offset + limit]
    assert page.total == (len(found) if count else None)


async def test_the_questions_above_find_something(filled: Filled) -> None:
    """A test of the test: what is asked most simply is not always empty."""
    for name in NAMES:
        assert filled.expected(q.Query(q=q.Exists(q.Path(CONTEXT.expand(name)))))
    near = q.parse_geo("near;maxDistance==150000", "Point", [0, 0])
    assert 0 < len(filled.expected(q.Query(geo=near))) < len(filled.docs)
    assert filled.expected(q.Query(scope=q.parse_scope("/n/#")))
