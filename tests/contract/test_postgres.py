"""What the second engine promises besides: several processes on one database, a server that goes and comes back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from structlog.testing import capture_logs

from scripts.postgres import Server
from shahar.model.change import Change
from shahar.model.context import CORE
from shahar.model.entity import parse_entity
from shahar.services.broker import Broker
from shahar.store import journal, records, tenants
from shahar.store.db import Database, Tx
from shahar.store.engines import connect
from shahar.store.postgres import Postgres, line
from shahar.values.errors import NotFound, Unavailable
from tests import engines

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]
AT: Final = 1_700_000_000_000_000
A: Final = CORE.expand("a")


def create(number: int, **attributes: Any) -> Change:
    """An entity."""
    body = {"id": f"urn:e:{number}", "type": "T", "a": 0, **attributes}
    return Change("upsert", body["id"], parse_entity(body, CORE))


def change(number: int, value: Any, name: str = "a") -> Change:
    """An attribute of an entity."""
    fragment = parse_entity({"id": f"urn:e:{number}", "type": "T", name: value}, CORE)
    return Change("append", f"urn:e:{number}", fragment)


@pytest.fixture
def where(tmp_path: Path) -> Iterator[str]:
    """The address of an empty schema."""
    engines.use("postgres")
    yield str(engines.where(tmp_path / "city.db"))
    engines.use("sqlite")


@asynccontextmanager
async def stores(*addresses: str) -> AsyncIterator[list[Database]]:
    """Stores as several processes would have them."""
    opened = [connect(address) for address in addresses]
    await asyncio.gather(*(db.open() for db in opened))
    yield opened
    await asyncio.gather(*(db.close() for db in opened))


async def seqs(db: Database) -> list[int]:
    """The numbers of the journal's rows."""
    return [entry.seq for entry in await db.read(lambda tx: journal.read(tx, 0, 100_000))]


async def until(true: Callable[[], Any], within_s: float = 10.0) -> None:
    """Wait for something."""
    for _ in range(int(within_s * 100)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")


async def watched(*opened: Database) -> None:
    """Wait until the watches hear."""
    for db in opened:
        assert isinstance(db, Postgres)
        await until(partial(getattr, db.watch, "_connection"))
    await asyncio.sleep(0.05)


async def test_two_processes_change_the_same_entities_and_nothing_is_lost(where: str) -> None:
    async with stores(where, where) as (one, other):
        brokers = [Broker(one), Broker(other)]
        await brokers[0].apply("", [create(number) for number in range(5)], AT)

        async def work(which: int) -> None:
            for turn in range(40):
                wishes = [change(number, turn, f"p{which}t{turn}") for number in range(5)]
                await asyncio.gather(*(brokers[which].change("", wish, AT + turn) for wish in wishes))

        await asyncio.gather(work(0), work(1))
        for number in range(5):
            found = await brokers[0].get("", f"urn:e:{number}")
            assert len(found["attrs"]) == 1 + 2 * 40
        assert await seqs(one) == list(range(1, 5 + 2 * 40 * 5 + 1))


async def test_what_another_process_changed_is_heard_and_nothing_remembered_is_believed(where: str) -> None:
    async with stores(where, where) as (one, other):
        heard: list[int] = []
        await watched(one, other)
        before = other.commits
        other.on_commit(lambda: heard.append(1))
        await Broker(one).change("", create(1), AT)
        await until(lambda: heard)
        assert other.commits > before
        await Broker(other).change("", change(1, 7), AT + 1)
        await Broker(one).change("", change(1, 8, "b"), AT + 2)
        found = await Broker(other).get("", "urn:e:1")
        assert {iri.rpartition("/")[2]: listed[0]["value"] for iri, listed in found["attrs"].items()} == {
            "a": 7,
            "b": 8,
        }


async def test_two_processes_that_start_at_once_make_one_schema(where: str) -> None:
    async with stores(*[where] * 4) as opened:
        assert [await db.read(tenants.every) for db in opened] == [[""]] * 4


async def test_one_process_is_elected_and_is_told_when_it_no_longer_is(where: str) -> None:
    async with stores(where, where) as (one, other):
        lost: list[str] = []
        await watched(one, other)
        assert await one.elect("runner", lambda: lost.append("one"))
        assert await one.elect("runner", lambda: lost.append("one"))
        assert not await other.elect("runner", lambda: lost.append("other"))
        assert await other.elect("sweep", lambda: lost.append("other"))
        await one.resign("runner")
        assert await other.elect("runner", lambda: lost.append("other"))
        await cut(where, "shahar watch")
        await until(lambda: lost)
        assert lost == ["other", "other"]

        for _ in range(100):
            if await one.elect("runner", lambda: None):
                break
            await asyncio.sleep(0.05)
        assert not await other.elect("runner", lambda: None)


async def cut(where: str, name: str = "shahar%") -> None:
    """End connections of ours."""
    connection = await asyncpg.connect(where)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name LIKE '{name}' AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_cut_connections_are_made_again_and_nobody_notices(where: str) -> None:
    async with stores(where) as (db,):
        broker = Broker(db)
        await broker.change("", create(1), AT)
        assert await broker.get("", "urn:e:1")
        with capture_logs() as said:
            await cut(where)
            await broker.change("", change(1, 2), AT + 1)
            await cut(where)
            found = await broker.get("", "urn:e:1")
        assert [listed[0]["value"] for listed in found["attrs"].values()] == [2]
        assert await seqs(db) == [1, 2]
        assert said == []


@pytest.mark.parametrize("made", [True, False], ids=["it was made", "it was not made"])
async def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_doubled(
    where: str, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    async with stores(where) as (db,):
        broker = Broker(db)
        await broker.change("", create(1), AT)
        script = line.Line.script
        cuts: list[str] = []

        def cutting(self: line.Line, text: str) -> None:
            if text.startswith("INSERT INTO writer") and not cuts:
                cuts.append(text)
                if made:
                    script(self, text)
                self.connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            script(self, text)

        monkeypatch.setattr(line.Line, "script", cutting)
        applied = await broker.change("", change(1, 2), AT + 1)
        assert applied.set
        assert cuts
        await broker.change("", change(1, 3), AT + 2)
        assert [(entry.seq, entry.kind) for entry in await db.read(lambda tx: journal.read(tx, 0, 10))] == [
            (1, "entity.created"),
            (2, "entity.updated"),
            (3, "entity.updated"),
        ]


async def test_while_the_server_is_away_works_are_refused_at_once_and_then_done_again(tmp_path: Path) -> None:
    with Server() as server:
        db = connect(server.url)
        await db.open()
        broker = Broker(db)
        await broker.change("", create(1), AT)
        answered = [0]
        with capture_logs() as said:
            server.crash()
            for _ in range(50):
                with pytest.raises(Unavailable):
                    await asyncio.wait_for(broker.change("", change(1, 1), AT + 1), 5)
                with pytest.raises(Unavailable):
                    await asyncio.wait_for(broker.get("", "urn:e:1"), 5)
            server.start()

            async def work() -> None:
                value = 0
                while value < 20:
                    value += 1
                    try:
                        await broker.change("", change(1, value), AT + 10 + value)
                    except Unavailable:
                        await asyncio.sleep(0.05)
                        value -= 1
                    else:
                        answered.append(value)

            await asyncio.wait_for(work(), 20)
        assert [event["event"] for event in said] == ["the store's server fell", "the store's server rose"]
        assert await seqs(db) == list(range(1, 22))
        await db.close()


async def test_when_the_standby_takes_over_what_was_answered_is_there_and_work_goes_on() -> None:
    with Server() as first, Server(primary=first) as second:
        both = f"postgresql://shahar@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres"
        async with stores(both) as (db,):
            broker = Broker(db)
            await broker.change("", create(1), AT)
            await waited_for_the_copy(first)
            answered: list[int] = []

            async def work() -> None:
                for value in itertools.count(1):
                    try:
                        await broker.change("", change(1, value), AT + value)
                    except Unavailable:
                        await asyncio.sleep(0.02)
                    else:
                        answered.append(value)

            working = asyncio.create_task(work())
            await until(lambda: len(answered) > 30)
            await asyncio.to_thread(first.crash)
            before = len(answered)
            await asyncio.to_thread(second.promote)
            await until(lambda: len(answered) > before + 30)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            kept = await db.read(lambda tx: journal.read(tx, 0, 100_000))
            told = [entry.what["set"][A][0]["value"] for entry in kept[1:]]
            assert set(answered) <= set(told)
            assert len(told) == len(set(told)), "a change was made twice"
            assert [entry.seq for entry in kept] == list(range(1, len(kept) + 1))


async def waited_for_the_copy(first: Server) -> None:
    """Let commits wait for the copy from now on."""
    connection = await asyncpg.connect(first.url)
    await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await connection.execute("SELECT pg_reload_conf()")
    for _ in range(500):
        if await connection.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"):
            break
        await asyncio.sleep(0.02)
    await connection.close()


async def test_a_later_schema_is_refused_with_a_sentence(where: str) -> None:
    async with stores(where):
        pass
    connection = await asyncpg.connect(where)
    await connection.execute("UPDATE schema_version SET version = 999")
    await connection.close()
    with pytest.raises(Unavailable, match=r"999.*newer program"):
        await connect(where).open()


async def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CONNECT_S", 1.0)
    with pytest.raises(Unavailable) as refused:
        await connect("postgresql://shahar:terces@127.0.0.1:1/city").open()
    assert "terces" not in str(refused.value)
    assert "shahar@127.0.0.1:1/city" in str(refused.value)


async def test_texts_stand_in_the_order_of_their_bytes(where: str) -> None:
    keys = ["a", "B", "ж", "Z", "é", "_", "-", "aa"]

    def work(tx: Tx) -> list[str]:
        for key in keys:
            records.put(tx, "device", 1, key, {}, AT)
        return [key for _, key, _ in records.every(tx, "device", 1)]

    async with stores(where) as (db,):
        assert await db.write(work) == sorted(keys, key=str.encode)


async def test_a_caller_s_fault_disturbs_nobody_in_its_group(where: str) -> None:
    def refuse(_tx: Tx) -> None:
        raise NotFound("nothing")

    async with stores(where) as (db,):
        works = [db.write(partial(records.put, kind="x", tenant=1, key=str(n), doc={}, at=AT)) for n in range(30)]
        results = await asyncio.gather(*works, db.write(refuse), return_exceptions=True)
        assert [type(one) for one in results[30:]] == [NotFound]
        assert results[:30] == [None] * 30
        assert db.counters.rollbacks == 0
