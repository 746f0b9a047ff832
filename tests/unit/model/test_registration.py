"""Registrations in thought: bodies, who takes part, what conflicts, what is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from shahar.model import query as q
from shahar.model import registration as model
from shahar.model.context import CORE, Context, compile_context
from shahar.model.entity import NULL
from shahar.model.registration import Ask, Parts, Registration, Share, operations
from shahar.values import instants
from shahar.values.bounds import REGISTRATION_PROPERTIES
from shahar.values.errors import Invalid, TooLarge

NOW = instants.parse("2026-11-22T12:00:00Z")
CITY = compile_context({"Car": "http://city/Car", "speed": "http://city/speed"}, {})
CAR, BUS, SPEED, BRAND = (CORE.expand(name) for name in ("Car", "Bus", "speed", "brand"))
HERE = {"type": "Point", "coordinates": [69.2, 41.3]}
SQUARE = {"type": "Polygon", "coordinates": [[[69, 41], [70, 41], [70, 42], [69, 42], [69, 41]]]}
A, B = "urn:ngsi-ld:Car:A", "urn:ngsi-ld:Car:B"


def body(**members: Any) -> dict[str, Any]:
    base = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Car"}]}],
        "endpoint": "http://source.example/base",
    }
    return {name: value for name, value in {**base, **members}.items() if value is not ...}


def of(*information: dict[str, Any], **members: Any) -> dict[str, Any]:
    return body(information=list(information), **members)


def exclusive(**members: Any) -> dict[str, Any]:
    return of({"entities": [{"id": A, "type": "Car"}], "propertyNames": ["speed"]}, mode="exclusive", **members)


def made(given: dict[str, Any], context: Context = CORE, number: int = 1) -> Registration:
    """Through JSON, as after a restart."""
    record = model.parse(given, context, NOW, new_id=f"urn:ngsi-ld:ContextSourceRegistration:{number}")
    return model.compiled(orjson.loads(orjson.dumps(record | {"born": number})))


def told(given: dict[str, Any], **how: Any) -> dict[str, Any]:
    record = model.parse(given, CORE, NOW, new_id="urn:r")
    return model.told(orjson.loads(orjson.dumps(record)), CORE, **how)


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "body"),
        (body(type="Car"), "type"),
        (body(type=...), "type"),
        (body(id="no uri"), "id"),
        (body(endpoint=...), "endpoint"),
        (body(endpoint="mqtt://source.example/x"), "endpoint"),
        (body(endpoint="http://user:password@source.example"), "endpoint"),
        (body(endpoint="http://source.example:x"), "endpoint"),
        (body(endpoint="http://source.example?x=y"), "endpoint"),
        (body(information=...), "information"),
        (body(information=None), "information"),
        (body(information=[]), "information"),
        (of({}), "information[0]"),
        (of({"entities": []}), "information[0].entities"),
        (of({"entities": [{}]}), "information[0].entities[0]"),
        (of({"entities": [{"type": "Car", "id": "no uri"}]}), "information[0].entities[0].id"),
        (of({"entities": [{"type": "Car", "idPattern": "("}]}), "information[0].entities[0].idPattern"),
        (of({"entities": [{"type": 1}]}), "information[0].entities[0].type"),
        (of({"propertyNames": []}), "information[0].propertyNames"),
        (of({"names": ["speed"]}), "information[0].names"),
        (body(mode="loose"), "mode"),
        (body(operations=["fly"]), "operations"),
        (body(operations=[]), "operations"),
        (body(expiresAt="2026-11-22T11:59:59Z"), "expiresAt"),
        (body(expiresAt="tomorrow"), "expiresAt"),
        (body(location={"type": "Point", "coordinates": [200, 0]}), "location"),
        (body(observationInterval={"endAt": "2026-01-01T00:00:00Z"}), "observationInterval.startAt"),
        (
            body(managementInterval={"startAt": "2026-01-02T00:00:00Z", "endAt": "2026-01-01T00:00:00Z"}),
            "managementInterval.endAt",
        ),
        (body(refreshRate="often"), "refreshRate"),
        (body(management={"timeout": 0}), "management.timeout"),
        (body(management={"cacheDuration": "1 h"}), "management.cacheDuration"),
        (body(contextSourceAlias="a b"), "contextSourceAlias"),
        (body(tenant="a/b"), "tenant"),
        (body(scope="//"), "scope"),
        (body(datasetId=["x"]), "datasetId"),
        (body(contextSourceInfo=[{"key": "X"}]), "contextSourceInfo"),
        (body(contextSourceInfo=[{"key": "X", "value": "a\r\nHost: b"}]), "contextSourceInfo"),
        (body(contextSourceInfo=[{"key": "NGSILD-Tenant", "value": "a"}]), "contextSourceInfo"),
        (body(contextSourceInfo=[{"key": "accept", "value": "text/html"}]), "contextSourceInfo accept"),
        (body(contextSourceInfo=[{"key": "jsonldContext", "value": "urn:x"}]), "contextSourceInfo jsonldcontext"),
        (body(contextSourceInfo=[{"key": "ngsildConformance", "value": "x"}]), "contextSourceInfo ngsildconformance"),
        (body(mode="auxiliary", operations=["createEntity"]), "operations"),
        (of({"entities": [{"type": "Car"}], "propertyNames": ["speed"]}, mode="exclusive"), "information.entities"),
        (of({"propertyNames": ["speed"]}, mode="exclusive"), "information.entities"),
        (of({"entities": [{"id": A, "type": "Car"}]}, mode="exclusive"), "information.propertyNames"),
        ({**body(), "@graph": []}, "@graph"),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_by_the_name_of_its_member(given: Any, field: str) -> None:
    with pytest.raises(Invalid) as problem:
        model.parse(given, CORE, NOW, new_id="urn:r")
    assert problem.value.field == field


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.text(max_size=8),
        lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    ),
    some.sampled_from([*model.members.REGISTRATION, "own"]),
)
def test_whatever_json_a_member_is_it_is_kept_or_refused_with_a_sentence(value: Any, name: str) -> None:
    with suppress(Invalid, TooLarge):
        made(body(**{name: value}))


def test_what_a_registration_may_leave_out_has_the_values_of_the_standard() -> None:
    found = made(body())
    assert (found.mode, found.operations) == ("inclusive", operations.GROUPS["federationOps"])
    assert found.management == model.Management() and found.tenant == "" and found.live(NOW * 2)


def test_a_group_of_operations_stands_for_its_operations() -> None:
    found = made(body(operations=["retrieveOps", "createEntity"]))
    assert found.operations == {"retrieveEntity", "queryEntity", "createEntity"}
    assert all(group <= operations.OPERATIONS for group in operations.GROUPS.values())


def test_members_that_only_the_platform_writes_are_ignored() -> None:
    assert "status" not in told(body(status="failed", timesSent=7, createdAt="x"))


def test_a_registration_has_at_most_so_many_properties_of_its_own() -> None:
    many = {f"p{number}": number for number in range(REGISTRATION_PROPERTIES + 1)}
    with pytest.raises(TooLarge):
        made(body(**many))


def test_what_the_source_is_told_besides_are_headers_but_for_instructions_and_what_belongs_to_the_connection() -> None:
    pairs = {
        "Authorization": "Bearer x", "user": model.REQUESTED, "agent": model.REQUESTED, "Content-Length": "7",
        "jsonldContext": "http://c.example/c", "Accept": "application/json",
    }  # fmt: skip
    found = made(body(contextSourceInfo=[{"key": key, "value": value} for key, value in pairs.items()]))
    assert found.headers({"user": "abcd"}) == [("Authorization", "Bearer x"), ("user", "abcd")]
    assert found.instruction("jsonldContext") == "http://c.example/c"
    assert "Bearer" not in repr(found)


# -- changes ----------------------------------------------------------------------------------------------------------


def patch(record: dict[str, Any], fragment: Any) -> dict[str, Any]:
    return model.told(model.patched(record, fragment, CORE, NOW + 1), CORE)


def test_a_fragment_takes_the_place_of_its_members_and_null_removes_one() -> None:
    record = model.parse(
        body(expiresAt="2027-01-01T00:00:00Z", description="x", floor=1, wing=2), CORE, NOW, new_id="urn:r"
    )
    shown = patch(record, {"expiresAt": None, "description": NULL, "floor": None, "endpoint": "http://new.example"})
    assert shown == {"id": "urn:r", **body(), "endpoint": "http://new.example", "wing": 2}


@pytest.mark.parametrize(
    ("fragment", "field"),
    [
        ([], "body"),
        ({"endpoint": None}, "endpoint"),
        ({"information": NULL}, "information"),
        ({"id": "urn:other"}, "id"),
        ({"type": "Car"}, "type"),
        ({"mode": "exclusive"}, "information.propertyNames"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ],
)
def test_a_fragment_that_breaks_a_rule_is_refused(fragment: Any, field: str) -> None:
    record = model.parse(body(), CORE, NOW, new_id="urn:r")
    with pytest.raises(Invalid) as problem:
        model.patched(record, fragment, CORE, NOW)
    assert problem.value.field == field


def test_a_registration_that_expired_may_be_changed_in_other_members_but_not_to_a_past_end() -> None:
    record = model.parse(body(expiresAt="2026-11-22T12:00:01Z"), CORE, NOW, new_id="urn:r")
    model.patched(record, {"description": "late"}, CORE, NOW + 10 * instants.SECOND)


# -- who takes part ---------------------------------------------------------------------------------------------------


def asked(ask: Ask, *given: dict[str, Any], at: int = NOW) -> Parts:
    held = [made(one, number=number) for number, one in enumerate(given)]
    index = model.Index()
    for one in held:
        index.put(one)
    found = model.parts(index.candidates(ask), ask, at)
    assert found == model.parts(held, ask, at), "the index leaves out none that takes part"
    return found


def shape(share: Share) -> tuple[Any, ...]:
    return share.ids, share.id_pattern, share.types, share.attrs


def query(**members: Any) -> Ask:
    return Ask("queryEntity", **members)


TYPE_CAR = q.TypeIs(CAR)


@pytest.mark.parametrize(
    ("ask", "given", "expected"),
    [
        (query(types=TYPE_CAR), body(), [((), "", (CAR,), None)]),
        (query(types=q.TypeIs(BUS)), body(), []),
        (query(types=q.Or((TYPE_CAR, q.TypeIs(BUS)))), body(), [((), "", (CAR,), None)]),
        (query(), of({"propertyNames": ["speed"]}), [((), "", (), frozenset({SPEED}))]),
        (query(attrs=frozenset({BRAND})), of({"propertyNames": ["speed"]}), []),
        (
            query(attrs=frozenset({BRAND, SPEED})),
            of({"propertyNames": ["speed"], "relationshipNames": ["owner"]}),
            [((), "", (), frozenset({SPEED}))],
        ),
        (query(attrs=frozenset({BRAND})), body(), [((), "", (CAR,), frozenset({BRAND}))]),
        (query(ids=(A, B)), of({"entities": [{"id": A, "type": "Car"}]}), [((A,), "", (CAR,), None)]),
        (query(ids=(B,)), of({"entities": [{"id": A, "type": "Car"}]}), []),
        (query(ids=(A, B)), of({"entities": [{"idPattern": "B$", "type": "Car"}]}), [((B,), "", (CAR,), None)]),
        (query(ids=(A, B)), body(), [((A, B), "", (CAR,), None)]),
        (query(types=TYPE_CAR), of({"entities": [{"id": A, "type": "Car"}]}), [((A,), "", (CAR,), None)]),
        (query(id_pattern=q.parse_id_pattern("A$")), of({"entities": [{"id": A}]}), [((A,), "", (), None)]),
        (query(id_pattern=q.parse_id_pattern("B$")), of({"entities": [{"id": A}]}), []),
        (query(id_pattern=q.parse_id_pattern("A$")), body(), [((), "A$", (CAR,), None)]),
        (
            query(id_pattern=q.parse_id_pattern("A$")),
            of({"entities": [{"idPattern": "^urn", "type": "Car"}]}),
            [((), "^urn", (CAR,), None)],
        ),
        (
            query(),
            of({"entities": [{"id": A, "type": "Car"}, {"id": B, "type": "Car"}]}),
            [((A, B), "", (CAR,), None)],
        ),
        (
            query(ids=(A,)),
            of(
                {"entities": [{"id": A, "type": "Car"}], "propertyNames": ["speed"]},
                {"entities": [{"type": "Car"}], "propertyNames": ["brand"]},
            ),
            [((A,), "", (CAR,), frozenset({SPEED, BRAND}))],
        ),
        (query(types=TYPE_CAR), of({"entities": [{"type": ["Car", "Bus"]}]}), [((), "", (CAR,), None)]),
    ],
)
def test_a_source_is_asked_for_what_it_offers_of_what_is_wanted(
    ask: Ask, given: dict[str, Any], expected: list[Any]
) -> None:
    assert [shape(share) for share in asked(ask, given).inclusive] == expected


def test_an_entity_is_offered_to_a_source_of_several_types_when_it_has_them_all() -> None:
    both = of({"entities": [{"type": ["Car", "Bus"]}]}, operations=["createEntity"])
    ask = Ask("createEntity", ids=(A,), of_types=(CAR,), attrs=frozenset({SPEED}))
    assert not asked(ask, both)
    assert asked(Ask("createEntity", ids=(A,), of_types=(CAR, BUS), attrs=frozenset({SPEED})), both).inclusive


def test_a_source_that_does_not_offer_the_operation_is_not_asked() -> None:
    assert not asked(Ask("createEntity", ids=(A,)), body())
    assert asked(Ask("retrieveEntity", ids=(A,)), body())


def test_an_expired_source_is_not_asked() -> None:
    soon = body(expiresAt="2026-11-22T12:00:01Z")
    assert asked(query(), soon) and not asked(query(), soon, at=NOW + instants.SECOND)


def test_a_source_that_the_request_has_passed_is_not_asked_again() -> None:
    assert not asked(query(via=frozenset({"north"})), body(contextSourceAlias="north"))
    assert asked(query(via=frozenset({"south"})), body(contextSourceAlias="north"), body()).inclusive


def test_an_auxiliary_source_is_asked_but_never_written_to() -> None:
    aside = body(mode="auxiliary")
    assert asked(query(), aside).auxiliary and not asked(Ask("createSubscription"), aside)


def test_what_exclusive_and_redirect_sources_take_is_not_sent_to_others_nor_kept_here() -> None:
    everything = ["redirectionOps"]
    given = (
        exclusive(operations=everything),
        of({"entities": [{"type": "Car"}], "propertyNames": ["brand"]}, mode="redirect", operations=everything),
        body(operations=everything),
    )
    attrs = frozenset({SPEED, BRAND, CORE.expand("owner")})
    found = asked(Ask("createEntity", ids=(A,), of_types=(CAR,), attrs=attrs), *given)
    assert [share.attrs for share in found.asked] == [frozenset({iri}) for iri in (SPEED, BRAND, CORE.expand("owner"))]
    assert found.taken == frozenset({SPEED, BRAND})


def test_a_redirected_entity_is_nobody_elses() -> None:
    given = (body(mode="redirect", operations=["redirectionOps"]), body(operations=["createEntity"]))
    found = asked(Ask("deleteEntity", ids=(A,), of_types=(CAR,)), *given)
    assert len(found.redirect) == 1 and not found.inclusive and found.taken is None


def test_a_question_goes_to_everybody_who_may_know() -> None:
    given = (exclusive(), body(mode="redirect"), body(), body(mode="auxiliary"))
    found = asked(Ask("retrieveEntity", ids=(A,)), *given)
    assert [share.registration.mode for share in found.asked] == ["exclusive", "redirect", "inclusive", "auxiliary"]


def test_a_proxied_source_without_the_operation_refuses_its_attributes() -> None:
    found = asked(Ask("createEntity", ids=(A,), attrs=frozenset({SPEED, BRAND})), exclusive())
    assert [share.attrs for share in found.refused] == [frozenset({SPEED})]
    assert found.taken == frozenset({SPEED}) and not found.asked


def test_an_entity_without_attributes_concerns_no_source_of_attributes() -> None:
    ask = Ask("createEntity", ids=(A,), of_types=(CAR,), attrs=frozenset())
    assert not asked(ask, exclusive(operations=["createEntity"]))
    assert asked(ask, body(operations=["createEntity"])).inclusive[0].attrs == frozenset()


def test_datasets_that_have_none_in_common_keep_a_source_out() -> None:
    source = body(datasetId=["urn:d:1", "@none"])
    assert asked(query(datasets=frozenset({"@none"})), source)
    assert not asked(query(datasets=frozenset({"urn:d:2"})), source)
    assert asked(query(), source) and asked(query(datasets=frozenset({"urn:d:2"})), body())


# -- when and where ---------------------------------------------------------------------------------------------------

PAST = {"startAt": "2026-01-01T00:00:00Z", "endAt": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("relation", "start", "end", "meets"),
    [
        ("before", "2026-01-15T00:00:00Z", None, True),
        ("before", "2026-03-01T00:00:00Z", None, True),
        ("before", "2025-12-31T00:00:00Z", None, False),
        ("after", "2026-02-01T00:00:00Z", None, True),
        ("after", "2026-02-01T00:00:01Z", None, False),
        ("between", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("between", "2026-02-02T00:00:00Z", "2026-03-01T00:00:00Z", False),
    ],
)
def test_a_temporal_query_meets_the_sources_whose_interval_it_overlaps(
    relation: str, start: str, end: str | None, meets: bool
) -> None:
    period = model.period(relation, start, end)
    assert bool(asked(Ask(period=period), body(observationInterval=PAST))) is meets
    assert not asked(Ask(period=period), body(managementInterval=PAST))
    assert (
        bool(asked(Ask(period=model.period(relation, start, end, "createdAt")), body(managementInterval=PAST))) is meets
    )


def test_an_interval_without_an_end_goes_on() -> None:
    period = model.period("after", "2030-01-01T00:00:00Z")
    assert asked(Ask(period=period), body(observationInterval={"startAt": PAST["startAt"]}))


def test_a_source_of_history_is_not_asked_for_the_present_nor_one_of_the_present_for_history() -> None:
    past = body(observationInterval=PAST, operations=["queryEntity", "queryTemporal"])
    assert not asked(query(), past)
    assert asked(Ask("queryTemporal"), past)
    assert not asked(Ask(period=model.period("before", PAST["endAt"])), body())
    named = body(operations=["queryTemporal"])
    assert asked(Ask("queryTemporal", period=model.period("before", PAST["endAt"])), named)


@pytest.mark.parametrize("given", [("since", "2026-01-01T00:00:00Z"), ("before", None), ("before", "now")])
def test_what_is_no_temporal_query_is_refused(given: tuple[str, str | None]) -> None:
    with pytest.raises(Invalid):
        model.period(*given)


def test_a_period_ends_after_it_starts_and_is_of_a_time_property() -> None:
    with pytest.raises(Invalid):
        model.period("between", PAST["endAt"], PAST["startAt"])
    with pytest.raises(Invalid):
        model.period("before", PAST["endAt"], None, "name")


def geo(rel: str, geometry: dict[str, Any], where: str = "location") -> q.Geo:
    return q.parse_geo(rel, geometry["type"], geometry["coordinates"], CORE.expand(where))


@pytest.mark.parametrize(
    ("rel", "geometry", "area", "may"),
    [
        ("near;maxDistance==2000", HERE, HERE, True),
        ("near;maxDistance==2000", {"type": "Point", "coordinates": [69.3, 41.3]}, HERE, False),
        ("near;maxDistance==2000", {"type": "Point", "coordinates": [69.3, 41.3]}, SQUARE, True),
        ("near;minDistance==2000", HERE, HERE, False),
        ("near;minDistance==2000", HERE, SQUARE, True),
        ("within", SQUARE, HERE, True),
        ("within", {"type": "Point", "coordinates": [10, 10]}, SQUARE, False),
        ("intersects", HERE, SQUARE, True),
        ("contains", HERE, SQUARE, True),
        ("contains", SQUARE, HERE, False),
        ("equals", HERE, SQUARE, True),
        ("overlaps", HERE, SQUARE, True),
        ("disjoint", SQUARE, HERE, False),
        ("disjoint", HERE, SQUARE, True),
    ],
)
def test_a_geo_query_meets_the_sources_in_whose_area_something_may_lie_so(
    rel: str, geometry: dict[str, Any], area: dict[str, Any], may: bool
) -> None:
    assert bool(asked(Ask(geo=geo(rel, geometry)), body(location=area))) is may


def test_a_source_that_does_not_say_where_it_is_may_be_anywhere_unless_a_yes_is_wanted() -> None:
    near = geo("near;maxDistance==1", HERE)
    assert asked(query(geo=near), body()) and not asked(Ask(geo=near, strict=True), body())
    aside = geo("near;maxDistance==1", HERE, "observationSpace")
    assert asked(Ask(geo=aside, strict=True), body(observationSpace=SQUARE))
    assert not asked(Ask(geo=aside, strict=True), body(location=SQUARE))


def test_a_scope_query_meets_the_sources_with_such_scopes() -> None:
    gardens = q.parse_scope("/Madrid/Gardens")
    assert asked(query(scope=gardens), body(scope=["/Madrid/Gardens", "/Paris"])) and asked(
        query(scope=gardens), body()
    )
    assert not asked(query(scope=gardens), body(scope="/Paris"))
    assert not asked(Ask(scope=gardens, strict=True), body())


def test_discovery_tells_which_elements_match() -> None:
    found = made(of({"entities": [{"type": "Bus"}]}, {"entities": [{"type": "Car"}]}, {"propertyNames": ["speed"]}))
    assert model.matching(found, Ask(types=TYPE_CAR)) == (1, 2)
    assert model.matching(found, Ask(types=q.TypeIs("urn:x"), attrs=frozenset({BRAND}))) == ()


# -- the index --------------------------------------------------------------------------------------------------------

_INFOS = some.fixed_dictionaries(
    {}, optional={"id": some.sampled_from([A, B]), "type": some.sampled_from(["Car", "Bus", ["Car", "Bus"]])}
).filter(bool)
_ELEMENTS = some.fixed_dictionaries(
    {}, optional={"entities": some.lists(_INFOS, min_size=1, max_size=2), "propertyNames": some.just(["speed"])}
).filter(bool)
_ASKS = some.builds(
    Ask,
    ids=some.sampled_from([(), (A,), (A, B)]),
    types=some.sampled_from([None, TYPE_CAR, q.And((TYPE_CAR, q.TypeIs(BUS))), q.Or((TYPE_CAR, q.TypeIs(BUS)))]),
    of_types=some.sampled_from([(), (CAR,), (CAR, BUS)]),
    attrs=some.sampled_from([None, frozenset({SPEED}), frozenset({BRAND})]),
)


@given(some.lists(some.lists(_ELEMENTS, min_size=1, max_size=2), max_size=4), _ASKS)
def test_the_index_leaves_out_nobody_who_takes_part(given: list[list[dict[str, Any]]], ask: Ask) -> None:
    asked(ask, *(of(*elements) for elements in given))


def test_a_registration_that_is_changed_or_gone_is_found_as_it_now_is() -> None:
    index = model.Index()
    index.put(made(body()))
    index.put(made(of({"entities": [{"type": "Bus"}]})))
    assert not index.candidates(Ask(types=TYPE_CAR)) and len(index.candidates(Ask(types=q.TypeIs(BUS)))) == 1
    index.drop("urn:ngsi-ld:ContextSourceRegistration:1")
    index.drop("urn:ngsi-ld:ContextSourceRegistration:1")
    assert not len(index) and not index.candidates(Ask())


# -- conflicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "clash"),
    [
        (exclusive(), True),
        (body(mode="redirect"), True),
        (of({"propertyNames": ["speed"]}, mode="redirect"), True),
        (of({"entities": [{"idPattern": "A$", "type": "Car"}]}, mode="redirect"), True),
        (body(), False),
        (body(mode="auxiliary"), False),
        (of({"propertyNames": ["brand"]}, mode="redirect"), False),
        (of({"entities": [{"type": "Bus"}]}, mode="redirect"), False),
        (of({"entities": [{"id": B, "type": "Car"}]}, mode="redirect"), False),
    ],
)
def test_an_exclusive_registration_stands_no_other_proxy_of_the_same(other: dict[str, Any], clash: bool) -> None:
    one, two = made(exclusive(), number=1), made(other, number=2)
    assert model.clash(one, two) is model.clash(two, one) is clash


def test_redirects_may_overlap_and_a_registration_does_not_clash_with_itself() -> None:
    assert not model.clash(made(body(mode="redirect"), number=1), made(body(mode="redirect"), number=2))
    assert not model.clash(made(exclusive()), made(exclusive()))


def test_a_proxied_registration_claims_the_entities_that_it_speaks_of() -> None:
    assert model.claimed(made(exclusive())) == [q.Query(ids=(A,), attrs=(SPEED,))]
    assert model.claimed(made(body(mode="redirect"))) == [q.Query(types=TYPE_CAR)]
    assert model.claimed(made(of({"propertyNames": ["speed"]}, mode="redirect"))) == [q.Query(attrs=(SPEED,))]
    assert model.claimed(made(body())) == []


# -- what is told -----------------------------------------------------------------------------------------------------


def test_a_registration_is_told_as_it_was_given() -> None:
    given = body(
        information=[{"entities": [{"id": A, "type": "Car"}, {"idPattern": "B$", "type": ["Car", "Bus"]}],
                      "propertyNames": ["speed"], "relationshipNames": ["owner"]}],
        mode="redirect", operations=["retrieveOps"], expiresAt="2027-01-01T00:00:00Z", location=HERE,
        observationInterval=PAST, management={"localOnly": True, "timeout": 500}, scope="/Madrid", tenant="north",
        contextSourceAlias="north", refreshRate="PT1M", csourceProperty1="aValue",
        floor={"type": "Property", "value": 3},
    )  # fmt: skip
    assert told(given) == {"id": "urn:r", **given}


def test_names_are_told_in_the_readers_words() -> None:
    record = model.parse(
        of({"entities": [{"type": "Car"}], "propertyNames": ["speed"]}, speed=7), CITY, NOW, new_id="urn:r"
    )
    assert model.told(record, CITY)["information"] == [{"entities": [{"type": "Car"}], "propertyNames": ["speed"]}]
    shown = model.told(record, CORE)
    assert shown["information"][0]["entities"] == [{"type": "http://city/Car"}] and shown["http://city/speed"] == 7


def test_secrets_are_told_to_those_alone_who_may_change_the_registration() -> None:
    pairs = [
        {"key": "Authorization", "value": "Bearer secret"},
        {"key": "jsonldContext", "value": "http://c.example/c"},
        {"key": "user", "value": model.REQUESTED},
    ]
    assert told(body(contextSourceInfo=pairs), secrets=True)["contextSourceInfo"] == pairs
    assert told(body(contextSourceInfo=pairs))["contextSourceInfo"] == pairs[1:]
    assert "contextSourceInfo" not in told(body(contextSourceInfo=pairs[:1]))


def test_a_context_source_filter_asks_members_and_own_properties_but_never_secrets() -> None:
    pairs = [{"key": "Authorization", "value": "Bearer secret"}]
    found = made(body(floor=3, refreshRate="PT1M", location=HERE, contextSourceInfo=pairs))
    doc = {"id": found.id, "attrs": found.described}
    for text, holds in (
        ("floor==3", True), ("floor>3", False), ('mode=="inclusive"', True), ('refreshRate=="PT1M"', True),
        ("contextSourceInfo", False), ("location", True), ('endpoint=="http://source.example/base"', True),
    ):  # fmt: skip
        assert q.matches_q(q.parse_q(text, CORE.expand), doc) is holds, text


def test_counts_are_told_once_there_are_some() -> None:
    tally = model.Tally()
    assert "status" not in told(body(), tally=tally)
    tally.count(ok=True, at=NOW)
    tally.count(ok=False, at=NOW + instants.SECOND)
    shown = told(body(), tally=tally)
    assert (shown["status"], shown["timesSent"], shown["timesFailed"]) == ("failed", 2, 1)
    assert (shown["lastSuccess"], shown["lastFailure"]) == ("2026-11-22T12:00:00Z", "2026-11-22T12:00:01Z")


def test_types_are_known_where_every_element_names_some() -> None:
    assert model.types_of(made(of({"entities": [{"type": "Car"}, {"type": "Bus"}]}))) == (BUS, CAR)
    assert model.types_of(made(of({"entities": [{"type": "Car"}]}, {"propertyNames": ["speed"]}))) == ()
    assert model.types_of(made(of({"entities": [{"id": A}]}))) == ()
