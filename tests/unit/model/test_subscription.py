"""Subscriptions in thought: bodies, matching, notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from shahar.model import subscription as model
from shahar.model.context import CORE, Context, compile_context
from shahar.model.entity import NULL, Doc, Instance
from shahar.model.subscription import Index, Record, Seen, Subscription, Tally, members
from shahar.values import instants
from shahar.values.errors import Invalid

D = "https://uri.etsi.org/ngsi-ld/default-context/"
NOW = instants.parse("2026-11-22T12:00:00Z")
CITY = compile_context({"Station": "http://city/Station", "pm25": "http://city/pm25"}, {})
URI = "http://example.org/notify"


@dataclass(frozen=True, slots=True)
class Told:
    kind: str
    key: str
    what: Any
    at: int = NOW


def body(**members: Any) -> dict[str, Any]:
    base = {"type": "Subscription", "entities": [{"type": "Station"}], "notification": {"endpoint": {"uri": URI}}}
    return {name: value for name, value in {**base, **members}.items() if value is not ...}


def noted(**members: Any) -> dict[str, Any]:
    return body(notification={"endpoint": {"uri": URI}, **members})


def ended(**members: Any) -> dict[str, Any]:
    return body(notification={"endpoint": {"uri": URI, **members}})


def record(given: dict[str, Any], context: Context = CORE) -> Record:
    return model.parse(given, context, NOW, new_id="urn:ngsi-ld:Subscription:1")


def made(given: dict[str, Any], context: Context = CORE) -> Subscription:
    """Through JSON, as after a restart."""
    return model.compiled(orjson.loads(orjson.dumps(record(given, context))))


def instance(value: Any, *, new: bool = False, **members: Any) -> Instance:
    return {"type": "Property", "value": value, "createdAt": NOW if new else NOW - 1, "modifiedAt": NOW, **members}


def updated(key: str = "urn:a", types: tuple[str, ...] = ("Station",), **attrs: Any) -> Told:
    listed = {D + name: [one] for name, one in attrs.items()}
    return Told("entity.updated", key, {"types": [D + kind for kind in types], "set": listed})


def removed(*names: str, kind: str = "entity.updated") -> Told:
    return Told(kind, "urn:a", {"types": [D + "Station"], "set": {}, "gone": [[D + name, ""] for name in names]})


def doc(**attrs: Any) -> Doc:
    return {"id": "urn:a", "type": [D + "Station"], "attrs": {D + name: [one] for name, one in attrs.items()}}


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "body"),
        (body(type=...), "type"),
        (body(type="Entity"), "type"),
        (body(id="no uri"), "id"),
        (body(id=""), "id"),
        (body(entities=...), "entities"),
        (body(entities=[]), "entities"),
        (body(entities=[{"id": "urn:a"}]), "entities[0].type"),
        (body(entities=[{"type": "A;"}]), "entities[0].type"),
        (body(entities=[{"type": "A", "id": "x y"}]), "entities[0].id"),
        (body(entities=[{"type": "A", "idPattern": "("}]), "entities[0].idPattern"),
        (body(entities=[{"type": "A", "ids": "urn:a"}]), "entities[0].ids"),
        (body(watchedAttributes=[]), "watchedAttributes"),
        (body(watchedAttributes=[{}]), "watchedAttributes"),
        (body(watchedAttribute=["a"]), "watchedAttribute"),
        (body(q="a=="), "q"),
        (body(q=1), "q"),
        (body(geoQ={"georel": "near", "geometry": "Point", "coordinates": [1, 2]}), "georel"),
        (body(geoQ={"georel": "within", "geometry": "Point", "coordinates": "x"}), "coordinates"),
        (body(geoQ={"georel": "within", "geometry": "Point", "coordinates": [1, 2], "near": 1}), "geoQ.near"),
        (body(scopeQ="#"), "scopeQ"),
        (body(throttling=-30), "throttling"),
        (body(throttling=True), "throttling"),
        (body(throttling=1, timeInterval=1), "throttling"),
        (body(watchedAttributes=["a"], timeInterval=1), "watchedAttributes"),
        (body(entities=..., watchedAttributes=["a"], timeInterval=1), "watchedAttributes"),
        (body(entities=[{"type": "A"}, {"type": "*"}], localOnly=False), "localOnly"),
        (body(expiresAt="yesterday"), "expiresAt"),
        (body(expiresAt="2020-01-01T00:00:00Z"), "expiresAt"),
        (body(isActive="true"), "isActive"),
        (body(notificationTrigger=["entityMoved"]), "notificationTrigger"),
        (body(datasetId=["a b"]), "datasetId"),
        (body(jsonldContext="unknownContext"), "jsonldContext"),
        (body(notification=...), "notification"),
        (body(notification={}), "notification.endpoint"),
        (body(notification={"endpoint": {}}), "notification.endpoint.uri"),
        (noted(attributes=["id"]), "notification.attributes"),
        (noted(attributes=["a"], pick=["b"]), "notification.pick"),
        (noted(attributes=["a"], omit=["b"]), "notification.omit"),
        (noted(pick=["a", "id"], omit=["id"]), "notification.omit"),
        (noted(format="short"), "notification.format"),
        (noted(join="all"), "notification.join"),
        (ended(accept="text/plain"), "notification.endpoint.accept"),
        (ended(timeout=0), "notification.endpoint.timeout"),
        (ended(uri="ftp://example.org/"), "notification.endpoint.uri"),
        (ended(uri="http://me:secret@example.org/"), "notification.endpoint.uri"),
        (ended(uri="http://[example.org/"), "notification.endpoint.uri"),
        (ended(uri="http://example.org:99999/"), "notification.endpoint.uri"),
        (ended(uri="http:///x"), "notification.endpoint.uri"),
        (ended(receiverInfo=[{"key": "A B", "value": "x"}]), "notification.endpoint.receiverInfo"),
        (ended(receiverInfo=[{"key": "A", "value": "x\r\nHost: y"}]), "notification.endpoint.receiverInfo"),
        (ended(receiverInfo=[{"key": "Host", "value": "x"}]), "notification.endpoint.receiverInfo"),
        (ended(receiverInfo=[{"key": "A", "value": 1}]), "notification.endpoint.receiverInfo"),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused_by_its_member(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as told:
        record(given)
    assert told.value.field == field


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (body(csf="a=="), "csf"),
        (body(temporalQ={}), "temporalQ.timerel"),
        (body(temporalQ={"timerel": "between", "timeAt": "2026-01-01T00:00:00Z"}), "temporalQ.endTimeAt"),
        (body(temporalQ={"timerel": "since", "timeAt": "2026-01-01T00:00:00Z"}), "temporalQ.timerel"),
        (body(splitEntities="yes"), "splitEntities"),
        (body(ngsildConformance="newest"), "ngsildConformance"),
        (noted(showChanges=True, format="keyValues"), "notification.showChanges"),
        (noted(join="flat", joinLevel=0), "notification.joinLevel"),
        (noted(join="flat", joinLevel=1.5), "notification.joinLevel"),
        (noted(pick=["a{b}"]), "notification.pick"),
        (noted(omit=["a{b{c}}"], join="inline"), "notification.omit"),
        (noted(pick=["a{b"], join="inline"), "notification.pick"),
        (ended(uri="mqtt://broker"), "notification.endpoint.uri"),
        (ended(uri="mqtt://broker/"), "notification.endpoint.uri"),
        (ended(uri="mqtt:///topic"), "notification.endpoint.uri"),
        (ended(uri="mqtt://broker/a/%23"), "notification.endpoint.uri"),
        (ended(uri="mqtt://broker/a/+/b"), "notification.endpoint.uri"),
        (ended(uri="mqtt://broker/a%0Ab"), "notification.endpoint.uri"),
        (ended(uri="mqtt://broker:99999/a"), "notification.endpoint.uri"),
        (
            ended(uri="mqtt://broker/a", notifierInfo=[{"key": "MQTT-QoS", "value": "3"}]),
            "notification.endpoint.notifierInfo",
        ),
        (
            ended(uri="mqtt://broker/a", notifierInfo=[{"key": "MQTT-Version", "value": "3"}]),
            "notification.endpoint.notifierInfo",
        ),
    ],
)
def test_the_later_members_are_checked_as_closely(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as told:
        record(given)
    assert told.value.field == field


def test_what_is_for_other_sources_is_kept_and_shown() -> None:
    given = body(
        csf="a==1", splitEntities=True, temporalQ={"timerel": "before", "timeAt": "2026-01-01T00:00:00Z"},
        ngsildConformance="1.5",
    )  # fmt: skip
    shown = model.told(record(given), Tally(), CORE, NOW)
    assert all(shown[name] == given[name] for name in ("csf", "splitEntities", "temporalQ", "ngsildConformance"))


def test_read_only_members_and_nulls_are_passed_over() -> None:
    given = body(status="expired", expiresAt=None, description=None)
    given["notification"]["timesSent"] = 7
    kept = record(given)
    assert kept["body"].keys() == {"entities", "notification"}
    assert kept["body"]["notification"] == {"endpoint": {"uri": URI}}


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(some.sampled_from(sorted(members.SUBSCRIPTION.takes)), json_values)
def test_any_json_in_a_member_is_read_or_refused_by_name(name: str, value: Any) -> None:
    field: str | None = "read"
    try:
        record(body(**{name: value}))
    except Invalid as problem:
        field = problem.field
    assert field


@given(some.sampled_from(["notification", "endpoint", "selector", "geoQ"]), some.text(max_size=12), json_values)
def test_any_json_deeper_down_is_read_or_refused(where: str, name: str, value: Any) -> None:
    names = {
        "notification": sorted(members.NOTIFICATION.takes), "endpoint": sorted(members.ENDPOINT.takes),
        "selector": sorted(members.SELECTOR.takes), "geoQ": sorted(members.GEO_QUERY.takes),
    }[where]  # fmt: skip
    for each in (name, *names):
        given = {
            "notification": noted(**{each: value}),
            "endpoint": ended(**{each: value}),
            "selector": body(entities=[{"type": "A", each: value}]),
            "geoQ": body(geoQ={"georel": "within", "geometry": "Point", "coordinates": [1, 2], each: value}),
        }[where]
        try:
            record(given)
        except Invalid:
            continue


def test_a_record_is_json_and_needs_no_context_to_be_compiled() -> None:
    given = body(
        entities=[{"type": "(Station|Park);Place", "idPattern": "^urn"}], watchedAttributes=["pm25"],
        q='pm25>10;kind=="a","b"', expandValues="kind",
        geoQ={"georel": "near;maxDistance==100", "geometry": "Point", "coordinates": [69, 41], "geoproperty": "place"},
        scopeQ="/Toshkent/#", notificationTrigger=["entityUpdated", "entityDeleted"],
    )  # fmt: skip
    sub = made(given, CITY)
    assert sub.watched == {"http://city/pm25"}
    assert sub.triggers == {"attributeCreated", "attributeUpdated", "attributeDeleted", "entityDeleted"}
    assert set(model.types_of(record(given, CITY))) == {"http://city/Station", D + "Park", D + "Place"}
    what = {"types": ["http://city/Station", D + "Place"], "set": {"http://city/pm25": [instance(1)]}}
    assert model.touches(sub, Told("entity.updated", "urn:a", what))


def test_a_percent_encoded_q_is_read_as_it_is_meant() -> None:
    sub = made(body(q="name==%22Eiffel%20Tower%22"))
    assert model.holds(sub, doc(name=instance("Eiffel Tower")))
    assert not model.holds(sub, doc(name=instance("Eiffel%20Tower")))


# -- changing ---------------------------------------------------------------------------------------------------------


def test_a_fragment_replaces_members_and_null_removes_them() -> None:
    old = record(body(throttling=5, description="a"))
    new = model.patched(old, {"description": "b", "throttling": NULL, "watchedAttributes": ["pm25"]}, CITY, NOW + 1)
    assert new["body"] == {
        "entities": old["body"]["entities"], "notification": old["body"]["notification"], "description": "b",
        "watchedAttributes": ["http://city/pm25"],
    }  # fmt: skip
    assert (new["createdAt"], new["modifiedAt"]) == (NOW, NOW + 1)
    assert old["body"]["throttling"] == 5


@pytest.mark.parametrize(
    ("fragment", "field"),
    [
        ({"notification": None}, "notification"),
        ({"notification": {"format": "keyValues"}}, "notification.endpoint"),
        ({"notification": {"endpoint": None}}, "notification.endpoint"),
        ({"entities": NULL}, "entities"),
        ({"id": "urn:other"}, "id"),
        ({"expiresAt": "2020-08-01T22:07:00Z"}, "expiresAt"),
        ({"timeInterval": 5}, "throttling"),
    ],
)
def test_a_fragment_that_breaks_a_rule_is_refused(fragment: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as told:
        model.patched(record(body(throttling=1)), fragment, CORE, NOW)
    assert told.value.field == field


def test_an_expired_subscription_can_be_changed_and_stays_expired() -> None:
    old = record(body(expiresAt="2026-11-22T12:00:01Z"))
    later = NOW + 10_000_000
    new = model.patched(old, {"description": "x"}, CORE, later)
    assert model.status(new, later) == "expired"
    assert model.status(model.patched(new, {"expiresAt": "2030-01-01T00:00:00Z"}, CORE, later), later) == "active"
    assert model.status(model.patched(old, {"isActive": False}, CORE, NOW), NOW) == "paused"


# -- whom a change concerns -------------------------------------------------------------------------------------------

PM = instance(1)


@pytest.mark.parametrize(
    ("given", "told", "expected"),
    [
        (body(), updated(pm25=PM), True),
        (body(), updated(types=("Park",), pm25=PM), False),
        (body(), updated(types=("Park", "Station"), pm25=PM), True),
        (body(), updated(), False),
        (body(entities=[{"type": "*"}]), updated(types=("Park",), pm25=PM), True),
        (body(entities=[{"type": "Station", "id": "urn:b"}]), updated(pm25=PM), False),
        (body(entities=[{"type": "Station", "id": ["urn:b", "urn:a"]}]), updated(pm25=PM), True),
        (body(entities=[{"type": "Station", "id": "urn:b", "idPattern": "a"}]), updated(pm25=PM), False),
        (body(entities=[{"type": "Station", "idPattern": "a$"}]), updated(pm25=PM), True),
        (body(entities=[{"type": "Park"}, {"type": "Station"}]), updated(pm25=PM), True),
        (body(entities=[{"type": "(Park|Tower)"}]), updated(pm25=PM), False),
        (body(watchedAttributes=["no2"]), updated(pm25=PM), False),
        (body(watchedAttributes=["no2", "pm25"]), updated(pm25=PM), True),
        (body(entities=..., watchedAttributes=["pm25"]), updated(types=("Park",), pm25=PM), True),
        (body(), removed("pm25"), False),
        (body(notificationTrigger=["attributeDeleted"]), removed("pm25"), True),
        (body(notificationTrigger=["attributeDeleted"], watchedAttributes=["no2"]), removed("pm25"), False),
        (body(notificationTrigger=["entityUpdated"]), removed("pm25"), True),
        (body(notificationTrigger=["attributeDeleted"]), removed("pm25", kind="entity.deleted"), True),
        (body(notificationTrigger=["entityDeleted"]), removed(kind="entity.deleted"), True),
        (body(notificationTrigger=["entityDeleted"]), removed("pm25"), False),
        (body(), removed(kind="entity.deleted"), False),
        (body(notificationTrigger=["attributeCreated"]), updated(pm25=PM), False),
        (body(notificationTrigger=["attributeCreated"]), updated(pm25=instance(1, new=True)), True),
        (body(notificationTrigger=["attributeUpdated"]), updated(pm25=instance(1, new=True)), False),
        (body(), Told("entity.created", "urn:a", {"types": [D + "Station"], "set": {}}), False),
        (
            body(notificationTrigger=["entityCreated"]),
            Told("entity.created", "urn:a", {"types": [D + "Station"], "set": {}}),
            True,
        ),
        (
            body(),
            Told("entity.updated", "urn:a", {"types": [D + "Station"], "set": {}, "late": {D + "pm25": [PM]}}),
            False,
        ),
        (body(), Told("device.put", "urn:a", {"types": [D + "Station"], "set": {}}), False),
    ],
)
def test_a_change_touches_whom_it_should(given: dict[str, Any], told: Told, expected: bool) -> None:
    sub = made(given)
    assert model.touches(sub, told) is expected
    index = Index()
    index.put("", sub)
    assert bool(index.touched("", told)) is expected
    assert index.touched("other", told) == []


def test_queries_are_held_against_the_document_at_the_change() -> None:
    sub = made(body(q='pm25>10;name=="A"'))
    told = updated(pm25=instance(11))
    present = doc(pm25=instance(5), name=instance("A"))
    assert model.concerns(sub, told, model.laid_over(told, present))
    told = updated(pm25=instance(9))
    assert not model.concerns(sub, told, model.laid_over(told, doc(pm25=instance(50), name=instance("A"))))


def test_a_linked_entity_is_asked_through_follow() -> None:
    sub = made(body(q="near{pm25}>10"))
    told = updated(near={"type": "Relationship", "object": "urn:b", "createdAt": 1, "modifiedAt": 2})
    shown = model.laid_over(told, doc())
    assert model.concerns(sub, told, shown, {"urn:b": doc(pm25=instance(11))}.get)
    assert not model.concerns(sub, told, shown, {"urn:b": doc(pm25=instance(9))}.get)


def test_place_and_scope_are_asked_too() -> None:
    near = {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": [69.0, 41.0]}
    sub = made(body(geoQ=near, scopeQ="/Toshkent"))
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [69.001, 41.0]}}
    held = {"id": "urn:a", "type": [D + "Station"], "attrs": {"https://uri.etsi.org/ngsi-ld/location": [place]}}
    assert model.holds(sub, {**held, "scope": ["/Toshkent"]})
    assert not model.holds(sub, held)
    assert not model.holds(sub, {**held, "scope": ["/Toshkent"], "attrs": {}})


def test_a_deleted_entity_is_judged_by_what_it_was_when_the_change_tells() -> None:
    sub = made(body(q="pm25>10", notificationTrigger=["entityDeleted"]))
    for value, expected in ((11, True), (9, False)):
        what = {"types": [D + "Station"], "set": {}, "gone": [[D + "pm25", "", instance(value)]]}
        told = Told("entity.deleted", "urn:a", what)
        assert model.concerns(sub, told, model.laid_over(told, None)) is expected
    told = removed("pm25", kind="entity.deleted")
    assert model.concerns(sub, told, model.laid_over(told, None)), "what is not known holds nothing back"


def test_the_change_lies_over_the_present_document() -> None:
    present = {**doc(pm25=instance(9), no2=instance(3), name=instance("now")), "modifiedAt": NOW + 9}
    set_ = {D + "pm25": [instance(1), instance(2, datasetId="urn:d")]}
    what = {"types": [D + "Station"], "set": set_, "gone": [[D + "no2", ""]]}
    shown = model.laid_over(Told("entity.updated", "urn:a", what), present)
    assert [one["value"] for one in shown["attrs"][D + "pm25"]] == [1, 2]
    assert D + "no2" not in shown["attrs"]
    assert shown["attrs"][D + "name"] == [instance("now")]
    assert shown["modifiedAt"] == NOW
    assert [one["value"] for one in present["attrs"][D + "pm25"]] == [9], "the present document is left as it is"


def test_an_entity_that_is_gone_is_shown_from_the_change() -> None:
    shell = {"id": "urn:a", "type": [D + "Station"], "createdAt": 5, "modifiedAt": 6, "deletedAt": 7, "attrs": {}}
    shown = model.laid_over(updated(pm25=instance(1)), shell)
    assert "deletedAt" not in shown
    assert shown["attrs"] == {D + "pm25": [instance(1)]}
    assert model.laid_over(updated(pm25=instance(1)), None)["type"] == [D + "Station"]


kinds = some.sampled_from(["A", "B", "C"])
names = some.sampled_from(["p", "r", "s"])
ids = some.sampled_from(["urn:a", "urn:b"])
selectors = some.one_of(
    kinds.map(lambda kind: {"type": kind}),
    some.tuples(kinds, kinds).map(lambda two: {"type": f"({two[0]}|{two[1]})"}),
    some.tuples(kinds, kinds).map(lambda two: {"type": f"{two[0]};{two[1]}"}),
    some.tuples(kinds, ids).map(lambda two: {"type": two[0], "id": two[1]}),
    some.just({"type": "*", "idPattern": "a"}),
)
bodies = some.builds(
    lambda entities, watched, triggers: body(
        entities=entities or ..., watchedAttributes=watched if watched or entities else ["p"],
        notificationTrigger=triggers or ...,
    ) if watched or not entities else body(entities=entities, notificationTrigger=triggers or ...),
    some.lists(selectors, max_size=2), some.lists(names, max_size=2, unique=True),
    some.lists(some.sampled_from(model.TRIGGERS), max_size=3, unique=True),
)  # fmt: skip
tellings = some.builds(
    lambda kind, key, types, changed, gone, new: Told(
        kind, key,
        {"types": [D + one for one in types], "set": {D + one: [instance(1, new=new)] for one in changed},
         "gone": [[D + one, ""] for one in gone]},
    ),
    some.sampled_from(["entity.created", "entity.updated", "entity.deleted"]), ids,
    some.lists(kinds, min_size=1, unique=True), some.lists(names, unique=True), some.lists(names, unique=True),
    some.booleans(),
)  # fmt: skip


@given(some.lists(bodies, max_size=5), tellings)
def test_the_index_finds_exactly_whom_the_change_touches(given: list[dict[str, Any]], told: Told) -> None:
    index = Index()
    subs = [model.compiled(model.parse(one, CORE, NOW, new_id=f"urn:s:{n}")) for n, one in enumerate(given)]
    for sub in subs:
        index.put("", sub)
    assert {sub.id for sub in index.touched("", told)} == {sub.id for sub in subs if model.touches(sub, told)}
    for sub in subs:
        index.drop("", sub.id)
    assert index.touched("", told) == []
    assert not index._by


# -- notifications ----------------------------------------------------------------------------------------------------


def sent(given: dict[str, Any], told: Told, present: Doc | None, context: Context = CORE) -> dict[str, Any]:
    sub = made(given, context)
    shown = model.seen(told, model.laid_over(told, present))
    docs = model.docs_of(sub, [shown])
    return model.notification(sub, "urn:ngsi-ld:Notification:1", docs, sub.view(context), NOW)


def test_a_notification_is_as_the_standard_says() -> None:
    told = updated(pm25=instance(1))
    assert sent(body(), told, doc(pm25=instance(1))) == {
        "id": "urn:ngsi-ld:Notification:1",
        "type": "Notification",
        "subscriptionId": "urn:ngsi-ld:Subscription:1",
        "notifiedAt": "2026-11-22T12:00:00Z",
        "data": [{"id": "urn:a", "type": "Station", "pm25": {"type": "Property", "value": 1}}],
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"format": "keyValues"}, {"id": "urn:a", "type": "Station", "pm25": 1, "no2": 2}),
        ({"format": "concise"}, {"id": "urn:a", "type": "Station", "pm25": 1, "no2": 2}),
        ({"format": "simplified", "attributes": ["no2"]}, {"id": "urn:a", "type": "Station", "no2": 2}),
        ({"format": "simplified", "pick": ["id", "no2"]}, {"id": "urn:a", "no2": 2}),
        ({"format": "simplified", "omit": ["type", "no2"]}, {"id": "urn:a", "pm25": 1}),
    ],
)
def test_the_entity_is_shown_as_asked(members: dict[str, Any], expected: dict[str, Any]) -> None:
    told = updated(pm25=instance(1))
    assert sent(noted(**members), told, doc(pm25=instance(1), no2=instance(2)))["data"] == [expected]


def test_names_are_those_of_the_subscriptions_context() -> None:
    what = {"types": ["http://city/Station"], "set": {"http://city/pm25": [instance(1)]}}
    shown = sent(noted(format="simplified"), Told("entity.updated", "urn:a", what), None, CITY)["data"]
    assert shown == [{"id": "urn:a", "type": "Station", "pm25": 1}]


def test_json_ld_carries_its_context_in_every_entity() -> None:
    shown = sent(ended(accept="application/ld+json"), updated(pm25=PM), None, CITY)
    assert shown["@context"] == shown["data"][0]["@context"] == CITY.source


def test_geo_json_is_a_collection_of_features() -> None:
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}, "createdAt": 1, "modifiedAt": 2}
    what = {"types": [D + "Station"], "set": {"https://uri.etsi.org/ngsi-ld/location": [place]}}
    data = sent(ended(accept="application/geo+json"), Told("entity.updated", "urn:a", what), None)["data"]
    assert data["type"] == "FeatureCollection"
    assert data["features"][0]["geometry"] == {"type": "Point", "coordinates": [1, 2]}
    assert data["features"][0]["properties"]["type"] == "Station"
    assert "@context" in data
    plain = ended(accept="application/geo+json", receiverInfo=[{"key": "Prefer", "value": "body=json"}])
    assert "@context" not in sent(plain, Told("entity.updated", "urn:a", what), None)["data"]


@pytest.mark.parametrize(
    ("form", "old", "expected"),
    [
        ("normalized", {"type": "Property"}, {"type": "Property", "value": NULL}),
        ("normalized", {"type": "Relationship"}, {"type": "Relationship", "object": NULL}),
        ("normalized", {"type": "LanguageProperty"}, {"type": "LanguageProperty", "languageMap": {"@none": NULL}}),
        ("normalized", {"type": "JsonProperty"}, {"type": "JsonProperty", "json": NULL}),
        ("normalized", {"type": "VocabProperty"}, {"type": "VocabProperty", "vocab": NULL}),
        ("normalized", None, {"type": "Property", "value": NULL}),
        ("concise", {"type": "Property"}, NULL),
        ("concise", {"type": "Relationship"}, {"object": NULL}),
        ("simplified", {"type": "LanguageProperty"}, NULL),
    ],
)
def test_an_attribute_that_went_is_shown_as_null(form: str, old: Any, expected: Any) -> None:
    given = noted(format=form) | {"notificationTrigger": ["attributeDeleted"]}
    gone = [D + "name", ""] + ([old] if old else [])
    told = Told("entity.updated", "urn:a", {"types": [D + "Station"], "set": {}, "gone": [gone]})
    (entity,) = sent(given, told, doc(no2=instance(1)))["data"]
    assert entity["name"] == expected
    assert "no2" in entity


def test_one_instance_that_went_stands_beside_those_that_stayed() -> None:
    gone = [[D + "name", "urn:fr", instance("x")]]
    told = Told("entity.updated", "urn:a", {"types": [D + "Station"], "set": {}, "gone": gone})
    given = noted(format="simplified") | {"notificationTrigger": ["attributeDeleted"]}
    (entity,) = sent(given, told, doc(name=instance("y")))["data"]
    assert entity["name"] == {"dataset": {"@none": "y", "urn:fr": NULL}}
    gone.append([D + "name", "", instance("y")])
    (entity,) = sent(noted() | {"notificationTrigger": ["attributeDeleted"]}, told, doc())["data"]
    assert entity["name"] == {"type": "Property", "value": NULL}


def test_a_deleted_entity_shows_when_and_no_more_than_asked() -> None:
    shell = doc() | {"createdAt": NOW - 9, "modifiedAt": NOW - 8, "deletedAt": NOW}
    gone = [[D + "name", "", instance("x")], [D + "no2", "", instance(1)]]
    what = {"types": [D + "Station"], "set": {}, "gone": gone}
    told = Told("entity.deleted", "urn:a", what)
    bare = sent(body(notificationTrigger=["entityDeleted"]), told, shell)["data"][0]
    assert bare == {"id": "urn:a", "type": "Station", "deletedAt": "2026-11-22T12:00:00Z"}
    full = sent(noted(sysAttrs=True) | {"notificationTrigger": ["entityDeleted"]}, told, shell)["data"][0]
    assert full.keys() == {"id", "type", "createdAt", "modifiedAt", "deletedAt"}
    watched = body(notificationTrigger=["attributeDeleted"], watchedAttributes=["name"])
    assert sent(watched, told, shell)["data"][0] == bare | {"name": {"type": "Property", "value": NULL}}


@pytest.mark.parametrize(
    ("form", "old", "expected"),
    [
        ("normalized", instance(1), {"type": "Property", "value": 2, "previousValue": 1}),
        ("concise", instance(1), {"value": 2, "previousValue": 1}),
        (
            "normalized",
            {"type": "Relationship", "object": "urn:b"},
            {"type": "Property", "value": 2, "previousObject": "urn:b"},
        ),
        (
            "concise",
            {"type": "LanguageProperty", "languageMap": {"uz": "a"}},
            {"value": 2, "previousLanguageMap": {"uz": "a"}},
        ),
        (
            "normalized",
            {"type": "ListRelationship", "objectList": ["urn:b"]},
            {"type": "Property", "value": 2, "previousObjectList": [{"object": "urn:b"}]},
        ),
        (
            "normalized",
            {"type": "VocabProperty", "vocab": D + "park"},
            {"type": "Property", "value": 2, "previousVocab": "park"},
        ),
        ("concise", {"type": "JsonProperty", "json": None}, {"value": 2, "previousJson": None}),
        ("concise", {"type": "ListProperty", "valueList": [1]}, {"value": 2, "previousValueList": [1]}),
    ],
)
def test_changes_are_shown_beside_what_they_took_the_place_of(form: str, old: Instance, expected: Any) -> None:
    told = updated(no2=instance(2))
    told.what["was"] = [[D + "no2", "", old]]
    present = doc(no2=instance(2), pm25=instance(3))
    (entity,) = sent(noted(format=form, showChanges=True), told, present)["data"]
    assert entity["no2"] == expected
    assert entity["pm25"] == sent(noted(format=form), told, present)["data"][0]["pm25"]


def test_only_the_dataset_that_changed_has_something_before_it() -> None:
    told = updated(name=instance("x", datasetId="urn:fr"))
    told.what["was"] = [[D + "name", "urn:fr", instance("w", datasetId="urn:fr")]]
    (entity,) = sent(noted(showChanges=True), told, doc(name=instance("y")))["data"]
    assert [one.get("previousValue") for one in entity["name"]] == [None, "w"]


def test_what_went_with_an_entity_is_shown_where_changes_are() -> None:
    gone = [[D + "name", "", instance("x")], [D + "ref", "", {"type": "Relationship", "object": "urn:b"}]]
    told = Told("entity.deleted", "urn:a", {"types": [D + "Station"], "set": {}, "gone": gone})
    given = noted(showChanges=True) | {"notificationTrigger": ["entityDeleted"], "watchedAttributes": ["name"]}
    assert sent(given, told, None)["data"] == [
        {
            "id": "urn:a",
            "type": "Station",
            "name": {"type": "Property", "value": NULL, "previousValue": "x"},
            "ref": {"type": "Relationship", "object": NULL, "previousObject": "urn:b"},
            "deletedAt": "2026-11-22T12:00:00Z",
        }
    ]


def test_an_attribute_written_again_as_it_was_has_not_changed() -> None:
    told = updated(no2=instance(2), pm25=instance(3))
    told.what["same"] = [[D + "no2", ""]]
    assert model.touches(made(body(watchedAttributes=["pm25"])), told)
    assert not model.touches(made(body(watchedAttributes=["no2"])), told)


def test_an_attribute_of_a_replaced_entity_is_updated_and_not_created() -> None:
    told = updated(no2=instance(2, new=True))
    told.what["renewed"] = [[D + "no2", ""]]
    assert model.touches(made(body(notificationTrigger=["attributeUpdated"])), told)
    assert not model.touches(made(body(notificationTrigger=["attributeCreated"])), told)


def test_a_notification_keeps_to_the_version_that_is_asked_for() -> None:
    told = updated(name={"type": "JsonProperty", "json": [1], "createdAt": 1, "modifiedAt": 2})
    (entity,) = sent(body(ngsildConformance="1.5"), told, None)["data"]
    assert entity["name"] == {"type": "Property", "value": [1]}


def test_picks_may_reach_into_linked_entities() -> None:
    sub = made(noted(join="inline", joinLevel=2, pick=["id", "ref{name,far{id}}"]))
    view = sub.view(CORE)
    assert view.pick == {"id", D + "ref"}
    assert view.below[D + "ref"].pick == {D + "name", D + "far"}
    shown = model.told(record(noted(join="inline", joinLevel=2, pick=["ref{name}"])), Tally(), CORE, NOW)
    assert shown["notification"]["pick"] == ["ref{name}"]


def test_secrets_are_shown_to_those_alone_who_may_change_them() -> None:
    given = ended(uri="mqtt://me:pw@broker/topic", receiverInfo=[{"key": "Authorization", "value": "Bearer x"}])
    whole = model.told(record(given), Tally(), CORE, NOW, secrets=True)["notification"]["endpoint"]
    assert whole["uri"] == "mqtt://me:pw@broker/topic"
    hidden = model.told(record(given), Tally(), CORE, NOW)["notification"]["endpoint"]
    assert hidden["uri"] == "mqtt://me:***@broker/topic"
    assert hidden["receiverInfo"] == [{"key": "Authorization", "value": "***"}]


def test_only_the_datasets_asked_for_are_shown() -> None:
    told = updated(name=instance("x", datasetId="urn:fr"))
    (entity,) = sent(body(datasetId=["urn:fr"]), told, doc(name=instance("y"), no2=instance(1)))["data"]
    name = {"type": "Property", "value": "x", "datasetId": "urn:fr"}
    assert entity == {"id": "urn:a", "type": "Station", "name": name}


# -- what is told of a subscription -----------------------------------------------------------------------------------


def test_a_subscription_is_shown_as_it_was_given_in_the_readers_names() -> None:
    given = body(entities=[{"type": "(Station|Park)"}], watchedAttributes=["pm25"], throttling=1.5)
    given["expiresAt"] = "2030-08-01T22:07:00Z"
    kept = record(given, CITY)
    shown = model.told(kept, Tally(), CITY, NOW)
    more = {"id": "urn:ngsi-ld:Subscription:1", "status": "active"}
    more_lists = {"notificationTrigger": ["attributeCreated", "attributeUpdated"]}
    assert shown == given | more | more_lists
    elsewhere = model.told(kept, Tally(), CORE, NOW)
    assert elsewhere["entities"] == [{"type": "(http://city/Station|Park)"}]
    assert elsewhere["watchedAttributes"] == ["http://city/pm25"]


def test_counts_and_instants_are_shown_when_there_are_any() -> None:
    tally = Tally(3, 1, NOW, NOW, NOW - 1_000_000, True, 5)
    note = model.told(record(body()), tally, CORE, NOW)["notification"]
    assert note == {
        "endpoint": {"uri": URI}, "status": "ok", "timesSent": 3, "timesFailed": 1, "changesLost": 5,
        "lastNotification": "2026-11-22T12:00:00Z", "lastSuccess": "2026-11-22T12:00:00Z",
        "lastFailure": "2026-11-22T11:59:59Z",
    }  # fmt: skip


def test_the_context_of_a_subscription_is_named_when_it_has_an_address() -> None:
    context = compile_context(["http://city/context.jsonld"], {"http://city/context.jsonld": {}})
    assert model.told(record(body(), context), Tally(), CORE, NOW)["jsonldContext"] == "http://city/context.jsonld"
    asked = record(body(jsonldContext="http://else/where.jsonld"), context)
    assert asked["context"] == "http://else/where.jsonld"


def test_seen_is_what_the_change_shows() -> None:
    told = removed("pm25", kind="entity.deleted")
    assert model.seen(told, doc()) == Seen(doc(), [[D + "pm25", ""]], NOW, True)
