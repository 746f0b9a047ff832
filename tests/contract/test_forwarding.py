"""Subscriptions at sources brought about, on a real store, with a source that answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from shahar.model.context import CORE
from shahar.services import forwarded, forwarded_rows
from shahar.services.broker import Broker
from shahar.services.federation import Call, Federation, Reply
from shahar.services.forwarded import Forwarding
from shahar.services.notified import Notified
from shahar.services.registrations import Registrations
from shahar.services.runner import Runner
from shahar.services.subscriptions import Subscriptions
from shahar.store import journal, records
from shahar.values.errors import Exists, Invalid, NotFound, PeerFailed, PeerSilent, ShaharError, TooLarge
from shahar.values.instants import SECOND
from tests.engines import store_at
from tests.subscribing import contexts, until

DAY = 86_400 * SECOND


class Source:
    """The way to a source: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[Call] = []
        self.answer: Callable[[Call], ShaharError | Reply | None] = lambda _: None

    async def send(self, call: Call) -> Reply:
        """Take a call."""
        self.asked.append(call)
        found = self.answer(call)
        if isinstance(found, ShaharError):
            raise found
        return found or Reply("done")

    def done(self) -> list[str]:
        """The operations that it was asked for."""
        return [call.operation for call in self.asked]


class Nobody:
    """An endpoint that takes everything."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def post(self, notice: Any) -> None:
        """Take a notification."""
        self.got.append(notice.body)


class City:
    """The parts, put together as main does."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.at = 1_800_000_000 * SECOND
        self.db = store_at(folder / "city.db")
        self.registrations = Registrations(self.db, lambda: self.at)
        federation = Federation(self.registrations, source, contexts, lambda _: "us")
        self.forwarding = Forwarding(self.db, federation, contexts, lambda: self.at, "http://us.example")
        self.out = Nobody()
        self.subs = Subscriptions(
            self.db, Broker(self.db), self.out, contexts, lambda: self.at, forwarding=self.forwarding
        )
        self.notified = Notified(self.db, federation, contexts, self.subs.lane)
        self.runner = Runner(self.db, lambda: self.at, [self.subs])

    async def __aenter__(self) -> City:
        await self.db.open()
        await self.registrations.start()
        await self.subs.start()
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.notified.stop()
        await self.subs.stop()
        await self.runner.stop()
        await self.registrations.stop()
        await self.db.close()

    async def register(self, number: int = 1, **members: Any) -> str:
        """A source of cars."""
        body = {
            "id": f"urn:x:r{number}",
            "type": "ContextSourceRegistration",
            "information": [{"entities": [{"type": "Car"}]}],
            "endpoint": f"http://source{number}.example",
            **members,
        }
        return await self.registrations.create("", body, CORE, self.at)

    async def subscribe(self, **members: Any) -> str:
        """A subscription to cars."""
        body = {
            "type": "Subscription",
            "entities": [{"type": "Car"}],
            "notification": {"endpoint": {"uri": "http://nobody.example"}},
            **members,
        }
        return await self.subs.create("", body, CORE, self.at)

    def states(self) -> list[str]:
        """How it stands with those at sources."""
        return [one["state"] for one in self.forwarding.shown("", "", 100)]

    async def kept(self) -> int:
        """How many are kept."""
        return len(await self.db.read(lambda tx: records.every(tx, forwarded_rows.KIND)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short here."""
    monkeypatch.setattr(forwarded, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(forwarded, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(forwarded, "SWEEP_S", 0.05)


def story(folder: Path, work: Callable[[City, Source], Coroutine[Any, Any, None]]) -> None:
    """Run a story of a city with one source."""

    async def run() -> None:
        source = Source()
        async with City(folder, source) as city:
            await work(city, source)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_one_that_was_made_and_not_noted_is_met_again(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        source.answer = lambda call: Exists("it is there") if call.operation == "createSubscription" else None
        await city.register()
        await city.subscribe()
        await until(lambda: city.states() == ["made"])
        assert source.done() == ["createSubscription", "updateSubscription"]
        assert source.asked[1].entity_id == source.asked[0].document["id"]

    story(tmp_path, work)


def test_one_that_the_source_has_lost_is_made_anew(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register()
        made = await city.subscribe()
        await until(lambda: city.states() == ["made"])
        source.answer = lambda call: NotFound("gone") if call.operation == "updateSubscription" else None
        await city.subs.update("", made, {"watchedAttributes": ["speed"]}, CORE, city.at)
        await until(lambda: source.done().count("createSubscription") == 2 and city.states() == ["made"])
        last, first = source.asked[-1].document, source.asked[0].document
        assert last["watchedAttributes"] == ["speed"]
        assert last["id"] != first["id"]

    story(tmp_path, work)


def test_one_whose_address_is_not_known_any_more_is_made_anew(tmp_path: Path) -> None:
    """It was made before a crash, and its source takes no updates."""

    async def work(city: City, source: Source) -> None:
        source.answer = lambda _: PeerSilent("it came late")
        await city.register(operations=["createSubscription"])
        await city.subscribe()
        await until(lambda: len(source.asked) > 1)
        first = source.asked[0].document
        assert source.asked[1].document == first, "what is tried again is the same"
        await city.subs.stop()
        source.answer = lambda call: Exists("it is there") if call.document["id"] == first["id"] else None
        await city.forwarding.start(city.subs.lanes())
        await until(lambda: city.states() == ["made"])
        last = source.asked[-1].document
        assert last["id"] != first["id"]
        uri = last["notification"]["endpoint"]["uri"]
        assert (await city.forwarding.known(*uri.split("/")[-2:])).remote == last["id"]
        await city.forwarding.stop()

    story(tmp_path, work)


def test_a_source_that_takes_no_updates_gets_another_one(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register(operations=["createSubscription", "deleteSubscription"])
        made = await city.subscribe()
        await until(lambda: city.states() == ["made"])
        await city.subs.update("", made, {"watchedAttributes": ["speed"]}, CORE, city.at)
        await until(lambda: source.done().count("deleteSubscription") == 1 and city.states() == ["made"])
        assert "updateSubscription" not in source.done()

    story(tmp_path, work)


def test_what_a_source_does_not_offer_is_not_asked_of_it(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register(operations=["createSubscription"])
        made = await city.subscribe()
        await until(lambda: city.states() == ["made"])
        await city.subs.update("", made, {"watchedAttributes": ["speed"]}, CORE, city.at)
        await city.subs.delete("", made, city.at)
        await until(lambda: city.states() == [])
        assert source.done() == ["createSubscription"]

    story(tmp_path, work)


def test_one_that_is_refused_is_shown_with_the_reason_and_without_the_secret(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        source.answer = lambda call: Invalid(f"no such {call.document['notification']['endpoint']['uri']}")
        await city.register()
        await city.subscribe()
        await until(lambda: city.states() == ["refused"])
        [shown] = await city.forwarding.page("", "", 10)
        assert shown["problem"].startswith("no such http://us.example/ngsi-ld/notifications/")
        [one] = city.forwarding._all.values()
        assert one.spoken not in str(shown)
        assert one.spoken not in repr(one)
        await asyncio.sleep(0.1)
        assert len(source.asked) == 1, "a refusal is not tried again at once"

    story(tmp_path, work)


def test_a_source_that_is_silent_is_tried_again_and_delays_no_other(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        source.answer = lambda call: PeerSilent("nothing") if call.share.registration.id == "urn:x:r1" else None
        await city.register(1)
        await city.register(2)
        await city.subscribe()
        await until(lambda: sorted(city.states()) == ["made", "waiting"])
        await until(lambda: len(source.asked) > 4)
        source.answer = lambda _: None
        await until(lambda: city.states() == ["made", "made"])

    story(tmp_path, work)


def test_what_expires_is_ended_and_forgotten(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register()
        await city.subscribe(expiresAt="2027-01-16T00:00:00Z")
        await until(lambda: city.states() == ["made"])
        city.at += 30 * DAY
        await until(lambda: city.states() == [])
        assert source.done() == ["createSubscription", "deleteSubscription"]
        assert await city.kept() == 0

    story(tmp_path, work)


def test_a_deletion_that_nobody_takes_is_given_up_after_a_week(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register()
        made = await city.subscribe()
        await until(lambda: city.states() == ["made"])
        source.answer = lambda _: PeerFailed("away")
        await city.subs.delete("", made, city.at)
        await until(lambda: source.done().count("deleteSubscription") > 2)
        assert city.states() == ["leaving"]
        city.at += 8 * DAY
        await until(lambda: city.states() == [])
        assert await city.kept() == 0

    story(tmp_path, work)


def test_a_registration_that_goes_is_followed_with_what_it_said(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        info = [{"key": "Authorization", "value": "Bearer key"}]
        registered = await city.register(contextSourceInfo=info, tenant="theirs")
        await city.subscribe()
        await until(lambda: city.states() == ["made"])
        source.answer = lambda _: PeerFailed("away")
        await city.registrations.delete("", registered, city.at)
        await until(lambda: city.states() == ["leaving"])
        await city.subs.stop()
        assert "Bearer key" not in str(await city.db.read(lambda tx: journal.read(tx, 0, 1_000)))
        again = Forwarding(city.db, city.forwarding.federation, contexts, lambda: city.at, "http://us.example")
        source.asked.clear()
        source.answer = lambda _: None
        await again.start(city.subs.lanes())
        await until(lambda: not again.shown("", "", 10))
        await again.stop()
        last = source.asked[-1]
        assert last.operation == "deleteSubscription"
        assert last.share.registration.tenant == "theirs"
        assert last.share.registration.headers({}) == [("Authorization", "Bearer key")]

    story(tmp_path, work)


def test_the_sources_of_one_subscription_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarded, "FORWARDED_SOURCES", 2)

    async def work(city: City, _: Source) -> None:
        for number in range(4):
            await city.register(number)
        await city.subscribe()
        await until(lambda: city.states() == ["made", "made"])

    story(tmp_path, work)


def test_brokers_that_a_subscription_has_passed_get_no_copy(tmp_path: Path) -> None:
    async def work(city: City, source: Source) -> None:
        await city.register(1, contextSourceAlias="there")
        await city.register(2)
        body = {"type": "Subscription", "entities": [{"type": "Car"}],
                "notification": {"endpoint": {"uri": "http://nobody.example"}}}  # fmt: skip
        await city.subs.create("", body, CORE, city.at, origin={"via": "1.1 there"})
        await until(lambda: city.states() == ["made"])
        [call] = source.asked
        assert (call.share.registration.id, call.origin.via) == ("urn:x:r2", "1.1 there")

    story(tmp_path, work)


def notice(*data: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """A notification of a source."""
    return {"id": f"urn:x:n{number}", "type": "Notification", "data": list(data)}


CAR = {"id": "urn:x:1", "type": "Car", "speed": {"type": "Property", "value": 1}}


def test_a_notification_that_comes_twice_at_once_is_taken_once(tmp_path: Path) -> None:
    async def work(city: City, _: Source) -> None:
        await city.register()
        await city.subscribe()
        await until(lambda: city.states() == ["made"])
        [one] = city.forwarding._all.values()
        assert await city.forwarding.known(one.id, one.spoken) is one
        kept = await city.db.read(lambda tx: records.every(tx, forwarded_rows.KIND))
        assert one.spoken not in str(kept)
        for wrong in ("", one.spoken[:-1], one.spoken + "x", "\ud800"):
            with pytest.raises(NotFound):
                await city.forwarding.known(one.id, wrong)
        await asyncio.gather(*(city.notified.take(one, notice(CAR), None, city.at) for _ in range(5)))
        await city.notified.take(one, notice(CAR, number=2), None, city.at)
        await until(lambda: len(city.out.got) == 2)
        with pytest.raises(TooLarge):
            await city.notified.take(one, notice(*[CAR] * 1_001, number=3), None, city.at)
        with pytest.raises(Invalid):
            await city.notified.take(one, notice({**CAR, "id": 5}, number=4), None, city.at)
        await city.notified.take(one, notice({**CAR, "id": 5}, CAR, number=5), None, city.at)
        await until(lambda: len(city.out.got) == 3)

    story(tmp_path, work)


def test_what_comes_by_two_ways_is_told_once_and_later_by_either(tmp_path: Path) -> None:
    async def work(city: City, _: Source) -> None:
        await city.register(1)
        await city.register(2)
        await city.subscribe()
        await until(lambda: city.states() == ["made", "made"])
        first, second = city.forwarding._all.values()
        await city.notified.take(first, notice(CAR, number=1), None, city.at)
        await city.notified.take(second, notice(CAR, number=2), None, city.at)
        await city.notified.take(first, notice(CAR, number=3), None, city.at)
        await until(lambda: len(city.out.got) == 2)
        city.at += DAY
        await city.notified.take(second, notice(CAR, number=4), None, city.at)
        await until(lambda: len(city.out.got) == 3)

    story(tmp_path, work)
