"""Subscriptions from a change to a real endpoint: real store, real runner, real sockets on this machine."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from shahar.model import subscription as model
from shahar.model.context import CORE
from shahar.services import deliveries, lanes
from shahar.services import subscriptions as service
from shahar.services.contexts import Contexts
from shahar.services.runner import LOST, Entry, Runner
from shahar.services.subscriptions import Subscriptions
from shahar.store import journal, records
from shahar.values.errors import Exists, Invalid, NoTenant, NotFound
from tests.engines import store_at
from tests.subscribing import City, Receiver, now, story, until


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits short enough for a test."""
    monkeypatch.setattr(deliveries, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(deliveries, "LONGEST_WAIT_S", 0.1)


def hold(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let queues hold no more than this."""
    for room in (lanes, deliveries):
        monkeypatch.setattr(room, "NOTIFICATION_QUEUE", most)


A, B = "urn:ngsi-ld:Station:A", "urn:ngsi-ld:Station:B"


def test_a_change_reaches_the_endpoint_with_its_id_and_count(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            await city.tell(A, 5)
            await city.tell("urn:ngsi-ld:Park:1", 5, kind="Park")
            await until(lambda: len(receiver.got) == 1)
            await asyncio.sleep(0.05)
            assert [note["subscriptionId"] for note in receiver.got] == [made]
            assert receiver.got[0]["id"].startswith(f"urn:ngsi-ld:Notification:{made}:")
            assert receiver.got[0]["data"] == [{"id": A, "type": "Station", "pm25": {"type": "Property", "value": 5}}]
            assert receiver.headers[0]["Content-Type"] == "application/json"
            assert "ngsi-ld-core-context" in receiver.headers[0]["Link"]
            tally = await city.tally(made)
            assert (tally.times_sent, tally.times_failed, tally.ok) == (1, 0, True)

    story(work)


def test_what_changed_before_a_subscription_is_not_told_to_it(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            for value in range(50):
                await city.tell(A, value)
            await city.subscribe(receiver.uri)
            await city.tell(A, "after")
            await until(lambda: bool(receiver.got))
            await asyncio.sleep(0.05)
            assert receiver.values(A) == ["after"]

    story(work)


def test_every_change_is_told_in_the_order_of_its_entity(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.delay_s = 0.003
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri)
            ids = [f"urn:ngsi-ld:Station:{number}" for number in range(10)]
            for value in range(30):
                await asyncio.gather(*(city.tell(one, value) for one in ids))
            await until(lambda: len(receiver.got) >= 300, 15)
            for one in ids:
                assert receiver.values(one) == list(range(30))
            assert 1 < receiver.most_under_way <= lanes.WINDOW

    story(work)


def test_a_tenants_changes_are_told_to_its_own_subscriptions(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri, tenant="north")
            await city.tell(A, 1)
            await city.tell(A, 2, tenant="north")
            await until(lambda: bool(receiver.got))
            await asyncio.sleep(0.05)
            assert receiver.values(A) == [2]
            assert receiver.headers[0]["NGSILD-Tenant"] == "north"

    story(work)


def test_a_dead_endpoint_delays_only_itself(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        dead = Receiver()
        await dead.open()
        await dead.close()
        async with City(tmp_path) as city:
            to_dead = await city.subscribe(dead.uri)
            await city.subscribe(receiver.uri)
            for value in range(200):
                await city.tell(A, value)
            await until(lambda: len(receiver.got) == 200)
            assert receiver.values(A) == list(range(200))
            await until(lambda: city.failures(to_dead) >= lanes.BREAKER)
            tally = await city.tally(to_dead)
            assert tally.ok is False
            assert tally.last_failure is not None
            assert len(city.subs._lanes["", to_dead].waiting) == 1, "a broken endpoint's queue is given back"
            await dead.open()
            await until(lambda: len(dead.got) >= 200, 10)
            assert dead.values(A) == list(range(200))
            await dead.close()

    story(work)


def test_a_failing_endpoint_gets_the_same_id_again(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        tried: list[str] = []

        def answer(note: dict[str, Any]) -> int:
            tried.append(note["id"])
            return 503 if len(tried) < 4 else 200

        receiver.answer = answer
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            await city.tell(A, 1)
            await until(lambda: len(receiver.got) == 1)
            assert len(tried) == 4
            assert len(set(tried)) == 1
            await until(lambda: city.failures(made) == 0)
            tally = await city.tally(made)
            assert (tally.times_sent, tally.times_failed, tally.ok) == (4, 3, True)

    story(work)


def test_a_refused_notification_does_not_hold_up_the_next(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.answer = lambda note: 400 if note["data"][0]["pm25"]["value"] == "bad" else 200
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri)
            for value in ("bad", "good"):
                await city.tell(A, value)
            await until(lambda: len(receiver.got) == 1)
            assert receiver.values(A) == ["good"]
            assert len(receiver.headers) == deliveries.REFUSALS + 1

    story(work)


def test_a_clean_restart_repeats_nothing_and_loses_nothing(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        dead = Receiver()
        await dead.open()
        await dead.close()
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri)
            await city.subscribe(dead.uri)
            for value in range(40):
                await city.tell(A, value)
            await until(lambda: len(receiver.got) == 40)
        async with City(tmp_path) as city:
            await city.tell(A, 40)
            await until(lambda: len(receiver.got) >= 41)
            await dead.open()
            await until(lambda: len(dead.got) >= 41, 10)
        assert receiver.values(A) == list(range(41))
        assert dead.values(A) == list(range(41))
        await dead.close()

    story(work)


def test_changes_made_while_nobody_ran_are_told_afterwards(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri)
            await until(lambda: bool(city.subs._lanes))
        silent = City(tmp_path)
        await silent.db.open()
        for value in range(600):
            await silent.tell(A, value)
        await silent.db.close()
        async with City(tmp_path):
            await until(lambda: len(receiver.got) >= 600, 15)
        assert receiver.values(A) == list(range(600))

    story(work)


def test_a_queue_that_overflows_is_read_again_from_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, 10)

    async def work(receiver: Receiver) -> None:
        receiver.delay_s = 0.3
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            await until(lambda: bool(city.subs._lanes))
            ids = [f"urn:ngsi-ld:Station:{number}" for number in range(7)]
            spilled = False
            for value in range(60):
                await asyncio.gather(*(city.tell(one, value) for one in ids))
                spilled |= not city.subs._lanes["", made].live
                assert len(city.subs._lanes["", made].waiting) <= 10
            assert spilled
            receiver.delay_s = 0.0
            await until(lambda: len(receiver.got) >= 420, 20)
            for one in ids:
                assert receiver.values(one) == list(range(60))
            await city.tell(A, "live again")
            await until(lambda: receiver.values(A) == ["live again"])
            assert len(receiver.got) == 421, "no change is told twice"

    story(work)


def test_an_endpoint_that_fails_at_random_gets_every_change_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room, name, value in (
        (lanes, "NOTIFICATION_QUEUE", 12),
        (deliveries, "NOTIFICATION_QUEUE", 12),
        (lanes, "BREAKER", 2),
        (deliveries, "BREAKER", 2),
        (service, "READ_ROWS", 16),
    ):
        monkeypatch.setattr(room, name, value)
    monkeypatch.setattr(deliveries, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(deliveries, "LONGEST_WAIT_S", 0.004)

    async def work(receiver: Receiver) -> None:
        chance = random.Random(20)
        receiver.answer = lambda _: 503 if chance.random() < 0.35 else 200
        receiver.delay_s = 0.0005
        ids = [f"urn:ngsi-ld:Station:{number}" for number in range(6)]
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri)
            await city.subscribe(receiver.uri, q="pm25>=0")
            for value in range(60):
                await asyncio.gather(*(city.tell(one, value) for one in ids))
                await asyncio.sleep(0.002)
            await until(lambda: len(receiver.got) >= 720, 30)
            await asyncio.sleep(0.05)
            for sub in city.subs._lanes.values():
                mine = [note for note in receiver.got if note["subscriptionId"] == sub.sub.id]
                for one in ids:
                    told = [note["data"][0]["pm25"]["value"] for note in mine if note["data"][0]["id"] == one]
                    assert told == list(range(60))
            assert city.subs._out.bytes == 0

    story(work)


def test_a_throttled_subscription_does_not_fall_behind_a_busy_entity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, 20)

    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri, throttling=0.5)
            await city.tell(A, "first")
            await until(lambda: len(receiver.got) == 1)
            for value in range(100):
                await city.tell(A, value)
                await city.tell(B, value)

            def latest() -> dict[str, Any]:
                return {one["id"]: one["pm25"]["value"] for notice in receiver.got for one in notice["data"]}

            await until(lambda: latest() == {A: 99, B: 99})
            assert city.subs._lanes["", made].live
            assert len(receiver.got) < 50  # of 201 changes: however slow the machine, throttled ones are told together

    story(work)


def test_a_deleted_entity_is_told_of_even_when_it_is_gone(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri, notificationTrigger=["entityDeleted"])
            await city.tell(A, 1)
            await city.delete(A)
            await until(lambda: len(receiver.got) == 1)
            (entity,) = receiver.got[0]["data"]
            assert entity.keys() == {"id", "type", "deletedAt"}

    story(work)


def test_a_change_is_shown_as_it_was_when_the_entity_has_moved_on(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.delay_s = 0.05
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri, q="pm25>10")
            for value in (11, 5, 12):
                await city.tell(A, value)
            await city.delete(A)
            await until(lambda: len(receiver.got) == 2)
            await asyncio.sleep(0.1)
            assert receiver.values(A) == [11, 12]

    story(work)


def test_throttling_tells_the_newest_state_when_the_period_is_over(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.subscribe(receiver.uri, throttling=0.4)
            began = monotonic()
            await city.tell(A, 0)
            await until(lambda: len(receiver.got) == 1)
            for value in range(1, 6):
                await city.tell(A, value)
                await city.tell(B, value)
            await asyncio.sleep(0.15)
            assert len(receiver.got) == 1
            await until(lambda: len(receiver.got) == 2)
            assert monotonic() - began >= 0.38
            assert {one["id"]: one["pm25"]["value"] for one in receiver.got[1]["data"]} == {A: 5, B: 5}

    story(work)


def test_a_paused_subscription_tells_nothing_and_begins_anew(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri, isActive=False)
            await city.tell(A, "paused")
            await city.subs.update("", made, {"isActive": True}, CORE, now())
            await city.tell(A, "active")
            await until(lambda: len(receiver.got) == 1)
            await city.subs.update("", made, {"isActive": False}, CORE, now())
            await city.tell(A, "paused again")
            await asyncio.sleep(0.1)
            assert receiver.values(A) == ["active"]

    story(work)


def test_an_expired_subscription_tells_nothing_until_it_is_prolonged(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        clock = [now()]
        async with City(tmp_path, lambda: clock[0]) as city:
            body = {
                "type": "Subscription",
                "entities": [{"type": "Station"}],
                "expiresAt": "2031-01-01T00:00:00Z",
                "notification": {"endpoint": {"uri": receiver.uri}},
            }
            made = await city.subs.create("", body, CORE, clock[0])
            clock[0] = 1_956_528_000_000_000 + 1
            await city.tell(A, "expired")
            await asyncio.sleep(0.1)
            await city.subs.update("", made, {"expiresAt": "2040-01-01T00:00:00Z"}, CORE, clock[0])
            await city.tell(A, "prolonged")
            await until(lambda: len(receiver.got) == 1)
            await asyncio.sleep(0.05)
            assert receiver.values(A) == ["prolonged"]

    story(work)


def test_an_update_moves_what_waits_to_the_new_endpoint(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe("http://127.0.0.1:9/notify")
            for value in range(5):
                await city.tell(A, value)
            await until(lambda: city.failures(made) > 0)
            await city.subs.update("", made, {"notification": {"endpoint": {"uri": receiver.uri}}}, CORE, now())
            await until(lambda: len(receiver.got) == 5)
            assert receiver.values(A) == list(range(5))

    story(work)


def test_a_deleted_subscription_leaves_nothing_behind(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe("http://127.0.0.1:9/notify")
            await city.tell(A, 1)
            await until(lambda: city.failures(made) > 0)
            await asyncio.sleep(1.2)
            await city.subs.delete("", made, now())
            await until(lambda: not city.subs._lanes)
            with pytest.raises(NotFound):
                await city.subs.get("", made)
            await asyncio.sleep(0.7)
            kept = await city.db.read(lambda tx: records.every(tx, service.STATE) + records.every(tx, service.KIND))
            assert kept == []
            assert city.subs._out.bytes == 0

    story(work)


def test_after_its_deletion_a_subscription_begins_no_notification(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            receiver.delay_s = 0.2
            queued = await city.subscribe(receiver.uri)
            for value in range(5):
                await city.tell(A, value)
            await until(lambda: receiver.under_way == 1)
            await city.subs.delete("", queued, now())
            await asyncio.sleep(0.6)
            assert receiver.values(A) == [0], "what was under way may end; what waited is not sent"
            receiver.delay_s, receiver.status = 0.0, 503
            retried = await city.subscribe(receiver.uri)
            await city.tell(A, 10)
            await until(lambda: city.failures(retried) > 0)
            await city.subs.delete("", retried, now())
            receiver.status = 200
            await asyncio.sleep(0.6)
            assert receiver.values(A) == [0], "what was tried again is given up"
            again = await city.subscribe(receiver.uri, id=retried)
            assert again == retried
            await city.tell(A, 11)
            await until(lambda: receiver.values(A) == [0, 11])

    story(work)


def test_a_periodic_subscription_tells_what_matches_whether_it_changed_or_not(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            await city.tell(A, 50)
            await city.tell(B, 5)
            await city.subscribe(receiver.uri, timeInterval=0.2, q="pm25>10")
            await until(lambda: len(receiver.got) >= 2)
            assert all([one["id"] for one in note["data"]] == [A] for note in receiver.got)

    story(work)


def test_what_the_journal_no_longer_has_is_counted_as_lost(tmp_path: Path, quick: None) -> None:
    async def work(receiver: Receiver) -> None:
        port = receiver.port
        await receiver.close()
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            for value in range(10):
                await city.tell(A, value)
            await until(lambda: city.failures(made) >= lanes.BREAKER)
        bare = store_at(tmp_path / "city.db")
        await bare.open()
        await bare.write(lambda tx: tx.run("DELETE FROM journal WHERE seq < (SELECT max(seq) FROM journal) - 2"))
        await bare.close()
        receiver.port = port
        await receiver.open()
        async with City(tmp_path) as city:
            await until(lambda: len(receiver.got) >= 3)
            assert receiver.values(A) == [7, 8, 9]
            assert (await city.tally(made)).lost == 7

    story(work)


def test_an_id_that_is_taken_is_refused_and_pages_are_oldest_first(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            ids = [f"urn:ngsi-ld:Subscription:{name}" for name in ("c", "a", "b")]
            for one in ids:
                await city.subscribe(receiver.uri, id=one)
            with pytest.raises(Exists):
                await city.subscribe(receiver.uri, id=ids[0])
            held, total = await city.subs.page("", 2, 1)
            assert [record["id"] for record, _ in held] == ids[1:]
            assert total == 3

    story(work)


def test_an_empty_store_has_no_subscription_rather_than_no_tenant(tmp_path: Path) -> None:
    async def run() -> None:
        async with City(tmp_path) as city:
            assert await city.subs.page("", 10) == ([], 0)
            for act in (city.subs.get("", "urn:a"), city.subs.delete("", "urn:a", now())):
                with pytest.raises(NotFound) as told:
                    await act
                assert not isinstance(told.value, NoTenant)
            with pytest.raises(NoTenant):
                await city.subs.get("north", "urn:a")

    asyncio.run(run())


def test_a_past_expiry_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            made = await city.subscribe(receiver.uri)
            with pytest.raises(Invalid) as told:
                await city.subs.update("", made, {"expiresAt": "2020-01-01T00:00:00Z"}, CORE, now())
            assert told.value.field == "expiresAt"

    story(work)


def test_ten_thousand_subscriptions_are_matched_quickly(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        first = City(tmp_path)
        await first.db.open()
        await asyncio.gather(
            *(
                first.subscribe(receiver.uri, entities=[{"type": f"Kind{number // 2}", "id": f"urn:x:{number}"}])
                for number in range(5_000)
            ),
            *(first.subscribe(receiver.uri, entities=[{"type": f"Kind{number}"}]) for number in range(4_999)),
        )
        await first.subscribe(receiver.uri)
        await first.db.close()
        async with City(tmp_path) as city:
            await until(lambda: len(city.subs._lanes) == 10_000, 20)
            began = monotonic()
            for value in range(100):
                await city.tell(A, value)
            await until(lambda: len(receiver.got) == 100)
            assert monotonic() - began < 3.0
            assert receiver.values(A) == list(range(100))

    story(work)


def test_the_runner_puts_a_fence_around_a_failing_consumer(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        def __init__(self) -> None:
            self.tries = 0
            self.mended = False
            self.seen: list[int] = []

        async def take(self, entries: Any) -> None:
            self.tries += 1
            if not self.mended:
                raise RuntimeError("planted")
            self.seen += [entry.seq for entry in entries]

    class Sound:
        name = "sound"

        def __init__(self) -> None:
            self.seen: list[int] = []

        async def take(self, entries: Any) -> None:
            self.seen += [entry.seq for entry in entries]

    async def run() -> None:
        city = City(tmp_path)
        await city.db.open()
        broken, sound = Broken(), Sound()
        runner = Runner(city.db, now, [broken, sound])
        await runner.start()
        for value in range(20):
            await city.tell(A, value)
        await until(lambda: len(sound.seen) == 20)
        assert broken.seen == []
        broken.mended = True
        await until(lambda: len(broken.seen) == 20)
        began = monotonic()
        await runner.stop()
        assert monotonic() - began < 2.0
        assert await city.db.read(lambda tx: journal.place(tx, "broken")) == sound.seen[-1]
        again = Runner(city.db, now, [broken, sound])
        await again.start()
        await city.tell(A, 20)
        await until(lambda: len(sound.seen) == 21 and len(broken.seen) == 21)
        await again.stop()
        await city.db.close()

    asyncio.run(run())


def test_a_listener_gets_entries_and_is_told_when_it_was_too_slow(tmp_path: Path) -> None:
    async def run() -> None:
        async with City(tmp_path) as city:
            quick, slow = city.runner.listen(), city.runner.listen(most=3)
            got: list[str] = []

            async def hear() -> None:
                async for entry in quick:
                    assert isinstance(entry, Entry)
                    got.append(entry.key)

            hearing = asyncio.create_task(hear())
            for value in range(10):
                await city.tell(A, value)
            await until(lambda: len(got) == 10)
            assert await slow.__anext__() is LOST
            slow.close()
            quick.close()
            await hearing

    asyncio.run(run())


@pytest.mark.sqlite
def test_without_subscriptions_the_consumer_reads_nothing(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            for value in range(20):
                await city.tell(A, value)
            await asyncio.sleep(0.7)
            assert city.subs._seen == 0
            end = await city.db.read(journal.last_seq)
            assert await city.db.read(lambda tx: journal.place(tx, city.subs.name)) == end
            await city.subscribe(receiver.uri)
            await city.tell(A, "seen")
            await until(lambda: len(receiver.got) == 1)
            assert receiver.values(A) == ["seen"]

    story(work)


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_subscriptions import City
async def main():
    async with City(Path({folder!r})) as city:
        await city.subscribe({uri!r})
        value = 0
        while True:
            await asyncio.gather(*(city.tell(f"urn:ngsi-ld:Station:{{n}}", value) for n in range(4)))
            print(value, flush=True)
            value += 1
            await asyncio.sleep(0.01)
asyncio.run(main())
"""


@pytest.mark.faults
def test_a_killed_process_loses_no_notification(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        receiver.delay_s = 0.02
        code = CHILD.format(tests=str(Path(__file__).parent), folder=str(tmp_path), uri=receiver.uri)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=subprocess.PIPE, env=os.environ | _path()
        )
        assert child.stdout is not None
        told = -1
        began = monotonic()
        while monotonic() - began < 2.5 or told < 100:
            told = int(await child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest, _ = await child.communicate()
        told = max(told, *(int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")), 0)
        await until(lambda: receiver.under_way == 0)
        before = len(receiver.got)
        assert before < told * 4, "nothing waited when the process was killed"
        receiver.delay_s = 0.0
        async with City(tmp_path) as city:
            ids = [f"urn:ngsi-ld:Station:{number}" for number in range(4)]
            await until(lambda: all(told in receiver.values(one) for one in ids), 20)
            await until(lambda: city.subs.waiting() == 0)
        for one in ids:
            values = receiver.values(one)
            assert sorted(set(values))[: told + 1] == list(range(told + 1))
            falls = [values[at - 1 : at + 3] for at in range(1, len(values)) if values[at] != values[at - 1] + 1]
            assert _in_order_but_for_repeats(values), falls
        notes = [note["id"] for note in receiver.got]
        contents = {note["id"]: note["data"] for note in receiver.got}
        assert all(contents[note["id"]][0]["pm25"] == note["data"][0]["pm25"] for note in receiver.got)
        assert len(notes) - len(set(notes)) < before * 0.7, "more is told again than the last second and a half"

    story(work)


def _path() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _in_order_but_for_repeats(values: list[int]) -> bool:
    """Rising by one; after the restart it may fall back once, to something told before."""
    falls = [index for index in range(1, len(values)) if values[index] <= values[index - 1]]
    return len(falls) <= 1 and all(
        values[index] == values[index - 1] + 1 for index in range(1, len(values)) if index not in falls
    )


def test_notifications_name_a_context_of_many_by_one_address_that_serves_it(tmp_path: Path) -> None:
    async def work(receiver: Receiver) -> None:
        async with City(tmp_path) as city:
            addresses = ["https://a.example/one", "https://b.example/two"]
            documents = dict.fromkeys(addresses, b'{"@context": {"Car": "https://a.example/Car"}}')

            async def fetch(address: str) -> bytes:
                return documents[address]

            kept = Contexts(city.db, fetch, base="http://city.example")
            await city.subs.stop()
            city.subs = Subscriptions(city.db, city.broker, city.out, kept.get, now, kept.imply)
            await city.subs.start()
            body = {"type": "Subscription", "entities": [{"type": "Car"}]}
            plain = {"uri": receiver.uri}
            for number, endpoint in enumerate([plain, {**plain, "accept": "application/ld+json"}]):
                whole = {**body, "id": f"urn:x:{number}", "notification": {"endpoint": endpoint}}
                await city.subs.create("", whole, await kept.get(addresses, now()), now())
            found = await kept.listed("", "ImplicitlyCreated")
            assert [one.document for one in found] == [addresses]
            shown = [model.told(*(await city.subs.get("", f"urn:x:{number}")), CORE, now()) for number in (0, 1)]
            assert [one.get("jsonldContext") for one in shown] == [kept.address(found[0]), None]
            assert model.compiled((await city.subs.get("", "urn:x:0"))[0]).implied == kept.address(found[0])
            await kept.delete("", found[0].id, now())
            assert (await kept.get((await city.subs.get("", "urn:x:0"))[0]["context"], now())).expand(
                "Car"
            ) == "https://a.example/Car"

    story(work)
