"""Whose rights a subscription has, what is given up, and what a notification says besides the entity that changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shahar.model import subscription as model
from shahar.model.access import HOUSE, Actor, Scope
from shahar.model.change import Change
from shahar.model.context import CORE
from shahar.model.entity import parse_entity
from shahar.services import dead_letters, deliveries
from shahar.services.accounts import NEVER, Accounts
from shahar.values.errors import Conflict, Forbidden, NotFound, PeerFailed
from shahar.values.instants import SECOND
from tests.subscribing import DEFAULT, City, Receiver, now, story, until

A, PARK = "urn:ngsi-ld:Station:A", "urn:ngsi-ld:Park:1"
STATION = DEFAULT + "Station"
NOBODY = Actor("person:0-none", "person", "Nobody")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits short enough for a test."""
    monkeypatch.setattr(deliveries, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(deliveries, "LONGEST_WAIT_S", 0.05)


def guarded(
    folder: Path, work: Callable[[City, Accounts, Receiver], Coroutine[Any, Any, None]]
) -> Callable[[Receiver], Coroutine[Any, Any, None]]:
    """A story in a closed house, whose subscriptions ask for the rights of their owners."""

    async def run(receiver: Receiver) -> None:
        async def rights(owner: str, tenant: str) -> tuple[frozenset[str] | None, float | None]:
            types, ends_at = await accounts.reads(owner, tenant, now())
            return None if types is None else frozenset(types), None if ends_at >= NEVER else (ends_at - now()) / SECOND

        city = City(folder, rights=rights)
        accounts = Accounts(city.db, access="closed")
        async with city:
            await work(city, accounts, receiver)
            await accounts.settle()

    return run


async def key_of(accounts: Accounts, *types: str, at: int | None = None) -> tuple[str, Actor]:
    """A key that reads these types, and its actor."""
    scopes = [Scope("read", "entities", "", types or ("*",)), Scope("write", "subscriptions", "")]
    made, text = await accounts.make_key("Nodira", scopes, "", ["*"], 1, at or now(), by=HOUSE)
    return made, await accounts.identify(text, at or now())


def test_what_was_taken_away_is_not_told(tmp_path: Path) -> None:
    async def work(city: City, accounts: Accounts, receiver: Receiver) -> None:
        key, actor = await key_of(accounts)
        made = await city.subscribe(receiver.uri, by=actor)
        await city.tell(A, 1)
        await until(lambda: receiver.values(A) == [1])
        await accounts.revoke(key, now(), by=HOUSE)
        await city.tell(A, 2)
        await until(lambda: city.subs._lanes["", made].tally.withheld)
        await city.tell(A, 3)
        await asyncio.sleep(0.1)
        assert receiver.values(A) == [1]
        record, tally = await city.subs.get("", made)
        assert model.told(record, tally, CORE, now())["status"] == "paused"
        await city.subs.update("", made, {"description": "mine now"}, CORE, now())
        await city.tell(A, 4)
        await until(lambda: receiver.values(A) == [1, 4])

    story(guarded(tmp_path, work))


def test_what_waits_when_rights_go_is_dropped(tmp_path: Path, quick: None) -> None:
    async def work(city: City, accounts: Accounts, receiver: Receiver) -> None:
        receiver.status = 503
        key, actor = await key_of(accounts)
        made = await city.subscribe(receiver.uri, by=actor)
        for value in range(3):
            await city.tell(A, value)
        await until(lambda: city.failures(made) > 0)
        await accounts.revoke(key, now(), by=HOUSE)
        await until(lambda: city.subs._lanes["", made].tally.withheld)
        await until(lambda: not city.subs._lanes["", made].flying)
        receiver.status = 200
        await asyncio.sleep(0.15)
        assert receiver.got == []
        assert city.subs._out.bytes == 0

    story(guarded(tmp_path, work))


def test_a_subscription_tells_only_of_types_that_its_owner_reads(tmp_path: Path) -> None:
    async def work(city: City, accounts: Accounts, receiver: Receiver) -> None:
        _, actor = await key_of(accounts, STATION)
        await city.subscribe(receiver.uri, by=actor, entities=[{"type": "Station,Park"}])
        await city.tell(PARK, 1, kind="Park")
        await city.tell(A, 2)
        await until(lambda: receiver.values(A) == [2])
        await asyncio.sleep(0.05)
        assert receiver.values(PARK) == []

    story(guarded(tmp_path, work))


def test_a_key_that_ends_ends_its_subscriptions_also_after_a_restart(tmp_path: Path) -> None:
    async def work(city: City, accounts: Accounts, receiver: Receiver) -> None:
        day = 86_400 * SECOND
        _, actor = await key_of(accounts, at=now() - day + SECOND)
        made = await city.subscribe(receiver.uri, by=actor)
        await city.tell(A, 1)
        await until(lambda: receiver.values(A) == [1])
        await until(lambda: city.subs._lanes["", made].tally.withheld)
        await city.tell(A, 2)
        await asyncio.sleep(0.1)
        assert receiver.values(A) == [1]

    story(guarded(tmp_path, work))

    async def again(city: City, _accounts: Accounts, receiver: Receiver) -> None:
        assert [lane.tally.withheld for lane in city.subs._lanes.values()] == [True]
        await city.tell(A, 3)
        await asyncio.sleep(0.1)
        assert receiver.got == []

    story(guarded(tmp_path, again))


def test_neither_a_join_nor_a_query_leads_to_what_the_owner_may_not_read(tmp_path: Path) -> None:
    async def work(city: City, accounts: Accounts, receiver: Receiver) -> None:
        _, actor = await key_of(accounts, STATION)
        await city.tell(PARK, 7, kind="Park")
        await city.subscribe(receiver.uri, by=actor, notification={"join": "inline"})
        await city.subscribe(receiver.uri, by=actor, q="in{pm25}==7")
        free = await city.subscribe(receiver.uri, notification={"join": "flat", "format": "keyValues"}, q="in{pm25}==7")
        body = {"id": A, "type": "Station", "in": {"type": "Relationship", "object": PARK}}
        await city.broker.change("", Change("upsert", A, parse_entity(body, CORE)), now())
        await until(lambda: len(receiver.got) == 2)
        await asyncio.sleep(0.05)
        told = {note["subscriptionId"]: note["data"] for note in receiver.got}
        assert told.pop(free) == [
            {"id": A, "type": "Station", "in": PARK}, {"id": PARK, "type": "Park", "pm25": 7}
        ]  # fmt: skip
        assert list(told.values()) == [[body]]

    story(guarded(tmp_path, work))


# -- dead letters -----------------------------------------------------------------------------------------------------


def test_a_refused_notification_is_kept_read_and_sent_again(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.answer = lambda note: 400 if note["data"][0]["pm25"]["value"] == "bad" else 200
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            for value in ("bad", "good"):
                await city.tell(A, value)
            await until(lambda: receiver.values(A) == ["good"])
        async with City(tmp_path) as city:
            letters = city.subs.dead_letters
            (letter,) = await letters.page("", "", 10, by=HOUSE)
            assert letter["subscription"] == made
            assert letter["body"]["data"][0]["pm25"]["value"] == "bad"
            assert "400" in letter["why"]
            with pytest.raises(PeerFailed):
                await letters.send("", letter["id"], now(), by=HOUSE)
            receiver.answer = lambda _: 200
            await letters.send("", letter["id"], now(), by=HOUSE)
            assert receiver.got[-1]["id"] == letter["notification"]
            assert await letters.page("", "", 10, by=HOUSE) == []
            acts = await Accounts(city.db, access="closed").acts("", by=HOUSE)
            assert [(act["act"], act["about"]) for act in acts] == [("dead_letter.sent", letter["id"])] * 2
            with pytest.raises(NotFound):
                await letters.send("", letter["id"], now(), by=HOUSE)

    story(work)


def test_letters_are_bounded_and_for_administrators(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "DEAD_LETTERS", 2)
    monkeypatch.setattr(dead_letters, "DEAD_LETTER_BYTES", 1_000)

    async def work(receiver: Receiver) -> None:
        receiver.status = 422
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            for value in ("first", "second", "x" * 1_000):
                await city.tell(A, value)
            await until(lambda: len(receiver.headers) == 9)
            letters = city.subs.dead_letters
            kept: list[dict[str, Any]] = []
            while len(kept) < 2 or kept[-1]["body"] is not None:
                await asyncio.sleep(0.1)
                kept = await letters.page("", "", 10, by=HOUSE)
            assert kept[0]["body"]["data"][0]["pm25"]["value"] == "second"
            with pytest.raises(Conflict):
                await letters.send("", kept[1]["id"], now(), by=HOUSE)
            for act in (letters.page("", "", 9, by=NOBODY), letters.drop("", kept[0]["id"], now(), by=NOBODY)):
                with pytest.raises(Forbidden):
                    await act
            await letters.drop("", kept[1]["id"], now(), by=HOUSE)
            await city.subs.delete("", made, now())
            await until(lambda: not city.subs._lanes)
            with pytest.raises(Conflict):
                await letters.send("", kept[0]["id"], now(), by=HOUSE)

    story(work)


# -- what was before --------------------------------------------------------------------------------------------------


def test_changes_are_told_with_what_they_took_the_place_of(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.tell(A, 1)
            shows = await city.subscribe(receiver.uri, notification={"showChanges": True, "format": "concise"})
            await city.tell(A, 2)
            await city.tell(A, 3)
            await until(lambda: len(receiver.got) == 2)
            told = [note["data"][0]["pm25"] for note in receiver.got]
            assert told == [{"value": 2, "previousValue": 1}, {"value": 3, "previousValue": 2}]
            await city.subs.update("", shows, {"notification": {"endpoint": {"uri": receiver.uri}}}, CORE, now())
            await city.tell(A, 4)
            await until(lambda: len(receiver.got) == 3)
            assert receiver.got[-1]["data"][0]["pm25"] == {"type": "Property", "value": 4}

    story(work)


def test_a_throttled_notification_tells_what_was_before_the_first_of_its_changes(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.tell(A, 0)
            await city.subscribe(receiver.uri, throttling=0.3, notification={"showChanges": True, "format": "concise"})
            await city.tell(A, 1)
            await until(lambda: len(receiver.got) == 1)
            for value in range(2, 5):
                await city.tell(A, value)
            await until(lambda: len(receiver.got) == 2)
            told = [note["data"][0]["pm25"] for note in receiver.got]
            assert told == [{"value": 1, "previousValue": 0}, {"value": 4, "previousValue": 1}]

    story(work)


def test_what_is_written_again_as_it_was_is_not_told(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri, notificationTrigger=["attributeUpdated"])
            tell = partial(city.tell, A)
            for value in (1, 1, 2, 2, 3):
                await tell(value)
            await until(lambda: len(receiver.got) == 2)
            await asyncio.sleep(0.05)
            assert receiver.values(A) == [2, 3]

    story(work)
