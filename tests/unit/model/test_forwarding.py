"""What of a subscription is for a source, and what a source may tell (ETSI GS CIM 009 5.8.1.4, 5.8.6)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shahar.model import notified
from shahar.model import registration as registrations
from shahar.model import subscription as subscriptions
from shahar.model.context import CORE, compile_context
from shahar.model.registration import forwarding as model
from shahar.model.subscription import Seen
from shahar.values.errors import Invalid, TooLarge

NOW = 1_800_000_000_000_000
D = "https://uri.etsi.org/ngsi-ld/default-context/"


def source(number: int = 1, **members: Any) -> registrations.Registration:
    """A registration of a source of cars."""
    body = {
        "id": f"urn:x:r{number}",
        "type": "ContextSourceRegistration",
        "endpoint": "http://there",
        "information": [{"entities": [{"type": "Car"}]}],
        **members,
    }
    return registrations.compiled(registrations.parse(body, CORE, NOW))


def subscription(**members: Any) -> dict[str, Any]:
    """The record of a subscription to cars."""
    note = {"endpoint": {"uri": "http://private/", "receiverInfo": [{"key": "Authorization", "value": "secret"}]}}
    body = {
        "type": "Subscription",
        "entities": [{"type": "Car"}],
        "notification": note | members.pop("notification", {}),
        **members,
    }
    return subscriptions.parse({k: v for k, v in body.items() if v is not None}, CORE, NOW, new_id="urn:x:s")


def copy_of(record: dict[str, Any], *sources: registrations.Registration) -> dict[str, Any]:
    """What each source gets, by its registration's id, in the core's words."""
    chosen = model.chosen(record, lambda ask: registrations.parts(sources, ask, NOW))
    found = {}
    for registration_id, picked in chosen.items():
        copy = model.copied(record, picked)
        terms = {} if model.is_split(record) else record["terms"]
        found[registration_id] = model.worded(copy, terms, "urn:x:there", "http://here/x", CORE, NOW)[0]
    return found


def test_a_copy_says_what_is_subscribed_to_and_nothing_of_the_subscriber() -> None:
    record = subscription(description="mine", subscriptionName="me", throttling=5, isActive=False, q="speed>1")
    assert copy_of(record, source()) == {
        "urn:x:r1": {
            "id": "urn:x:there",
            "type": "Subscription",
            "entities": [{"type": "Car"}],
            "isActive": False,
            "notification": {
                "format": "normalized",
                "sysAttrs": True,
                "endpoint": {"uri": "http://here/x", "accept": "application/json"},
            },
        }
    }


@pytest.mark.parametrize(
    ("asked", "offered", "entities", "watched"),
    [
        ({}, {}, [{"type": "Car"}], None),
        ({"entities": [{"type": "Car"}, {"type": "Bus"}]}, {}, [{"type": "Car"}], None),
        ({"entities": [{"type": "Car", "id": "urn:x:1"}]}, {}, [{"id": "urn:x:1", "type": "Car"}], None),
        ({}, {"entities": [{"type": "Car", "id": "urn:x:1"}]}, [{"id": "urn:x:1", "type": "Car"}], None),
        (
            {"entities": [{"type": "Car", "idPattern": "urn:x:.*"}]},
            {},
            [{"type": "Car", "idPattern": "urn:x:.*"}],
            None,
        ),
        ({"watchedAttributes": ["speed", "colour"]}, {"propertyNames": ["speed"]}, [{"type": "Car"}], ["speed"]),
        ({}, {"propertyNames": ["speed"]}, [{"type": "Car"}], ["speed"]),
        ({"entities": None, "watchedAttributes": ["speed"]}, {}, [{"type": "Car"}], ["speed"]),
    ],
)
def test_a_copy_is_narrowed_to_the_registration(
    asked: dict[str, Any], offered: dict[str, Any], entities: Any, watched: Any
) -> None:
    registration = source(information=[{"entities": [{"type": "Car"}], **offered}])
    found = copy_of(subscription(**asked), registration)["urn:x:r1"]
    assert (found.get("entities"), found.get("watchedAttributes")) == (entities, watched)


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ({"localOnly": True}, {}),
        ({"entities": [{"type": "*"}], "localOnly": True}, {}),
        ({"entities": [{"type": "Bus"}]}, {}),
        ({"watchedAttributes": ["speed"]}, {"information": [{"propertyNames": ["colour"]}]}),
        ({}, {"operations": ["retrieveOps"]}),
        ({}, {"operations": ["retrieveEntity"], "mode": "auxiliary"}),
        ({"csf": 'endpoint=="http://elsewhere"'}, {}),
        ({"datasetId": ["urn:x:d"]}, {"datasetId": ["urn:x:other"]}),
    ],
)
def test_a_source_that_has_nothing_of_it_gets_no_copy(asked: dict[str, Any], registered: dict[str, Any]) -> None:
    assert copy_of(subscription(**asked), source(**registered)) == {}


def test_a_subscription_that_was_asked_for_here_alone_is_not_forwarded() -> None:
    assert model.is_local(subscription() | {"local": True})
    assert copy_of(subscription() | {"local": True}, source()) == {}


def test_proxied_sources_get_copies_too() -> None:
    operations = ["createSubscription"]
    exclusive = source(
        2,
        mode="exclusive",
        operations=operations,
        information=[{"entities": [{"id": "urn:x:2", "type": "Car"}], "propertyNames": ["speed"]}],
    )
    redirect = source(3, mode="redirect", operations=operations)
    found = copy_of(subscription(), source(1), exclusive, redirect)
    assert sorted(found) == ["urn:x:r1", "urn:x:r2", "urn:x:r3"]
    assert found["urn:x:r2"]["entities"] == [{"id": "urn:x:2", "type": "Car"}]


def test_whole_entities_are_filtered_at_the_source_in_words_that_mean_the_same() -> None:
    record = subscription(splitEntities=False, q="speed>1", scopeQ="/A", notification={"attributes": ["speed"]})
    found = copy_of(record, source())["urn:x:r1"]
    assert (found["q"], found["scopeQ"], found["notification"]["attributes"]) == ("speed>1", "/A", ["speed"])
    other = compile_context([{"speed": "https://other.example/speed"}], {})
    picked = model.chosen(record, lambda ask: registrations.parts([source()], ask, NOW))["urn:x:r1"]
    document, understood = model.worded(
        model.copied(record, picked), record["terms"], "urn:x:t", "http://h", other, NOW
    )
    assert not understood
    assert "q" not in document
    assert "attributes" not in document["notification"]


def test_sources_without_dataset_and_scope_limits_follow_the_subscription() -> None:
    record = subscription(datasetId=["urn:x:a", "@none"])
    assert copy_of(record, source())["urn:x:r1"]["datasetId"] == ["urn:x:a", "@none"]
    assert copy_of(record, source(datasetId=["urn:x:a"]))["urn:x:r1"]["datasetId"] == ["urn:x:a"]


def test_a_fragment_turns_one_copy_into_another() -> None:
    old = {"id": "urn:x:1", "type": "Subscription", "isActive": False, "q": "a>1"}
    new = {"id": "urn:x:2", "type": "Subscription", "q": "a>2"}
    assert model.fragment(old, new) == {"q": "a>2", "isActive": "urn:ngsi-ld:null"}


# -- what comes --------------------------------------------------------------------------------------------------------


def seen(**members: Any) -> Seen:
    """What a source tells of a car."""
    return notified.seen_in({"id": "urn:x:1", "type": "Car", **members}, CORE, NOW)


def of(value: Any, **more: Any) -> dict[str, Any]:
    """A Property."""
    return {"type": "Property", "value": value, **more}


def test_a_notification_is_read_with_what_went_and_what_was() -> None:
    found = seen(
        speed=of(2, previousValue=1, createdAt="2027-01-01T00:00:00Z"),
        colour="urn:ngsi-ld:null",
        owner={
            "type": "Relationship",
            "object": "urn:ngsi-ld:null",
            "previousObject": "urn:x:o",
            "datasetId": "urn:x:d",
        },
        name={"type": "LanguageProperty", "languageMap": {"@none": "urn:ngsi-ld:null"}},
    )
    assert [one["value"] for one in found.doc["attrs"][f"{D}speed"]] == [2]
    assert set(found.doc["attrs"]) == {f"{D}speed"}
    assert found.was == [[f"{D}speed", "", {"type": "Property", "value": 1}]]
    assert [row[:2] for row in found.gone] == [[f"{D}colour", ""], [f"{D}owner", "urn:x:d"], [f"{D}name", ""]]
    assert found.gone[1][2]["object"] == "urn:x:o"
    assert not found.deleted
    assert seen(deletedAt="2027-01-01T00:00:00Z").deleted


def test_what_a_source_tells_is_narrowed_to_what_it_registered() -> None:
    registration = source(
        information=[{"entities": [{"type": "Car", "idPattern": "urn:x:.*"}], "propertyNames": ["speed"]}],
        datasetId=["@none"],
    )
    told = seen(speed=[of(1), of(2, datasetId="urn:x:d")], colour=of("red"), owner="urn:ngsi-ld:null")
    kept = model.within(told, registration)
    assert kept is not None
    assert kept.doc["attrs"] == {f"{D}speed": [{"type": "Property", "value": 1}]}
    assert kept.gone == []
    assert model.within(seen(colour=of("red")), registration) is None
    bus = notified.seen_in({"id": "urn:x:1", "type": "Bus", "speed": of(1)}, CORE, NOW)
    assert model.within(bus, registration) is None
    elsewhere = notified.seen_in({"id": "urn:y:1", "type": "Car", "speed": of(1)}, CORE, NOW)
    assert model.within(elsewhere, registration) is None


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"type": "Notification"}, {"type": "Notification", "data": [1]}, {"type": "Other", "data": []}],
)
def test_what_is_no_notification_is_refused(document: Any) -> None:
    with pytest.raises(Invalid):
        notified.entities_of(document)


def test_notifications_are_bounded() -> None:
    with pytest.raises(TooLarge):
        notified.entities_of({"type": "Notification", "data": [{}] * 1_001})


@pytest.mark.parametrize(
    "members",
    [
        {"id": 1},
        {"id": "nothing"},
        {"type": None},
        {"type": []},
        {"speed": {"type": "Property"}},
        {"speed": {"type": "Property", "value": "urn:ngsi-ld:null", "datasetId": 5}},
        {"speed": {"type": "Property", "value": 1, "previousValue": None}},
        {"scope": 5},
        {"createdAt": "yesterday"},
    ],
)
def test_what_is_no_entity_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        seen(**members)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.sampled_from(["urn:ngsi-ld:null", "x", "urn:x:1", "Car"]),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from(
                ["type", "value", "object", "datasetId", "previousValue", "languageMap", "deletedAt", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(some.dictionaries(some.sampled_from(["id", "type", "scope", "deletedAt", "speed", "@type", "a b"]), JSON))
def test_whatever_a_source_sends_is_an_entity_or_refused(told: dict[str, Any]) -> None:
    with suppress(Invalid, TooLarge):
        notified.seen_in({"id": "urn:x:1", "type": "Car", **told}, CORE, NOW)
