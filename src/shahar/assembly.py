"""The only place where parts are put together: every part of a running city, started in order, stopped in the opposite
one.

For: serving, which adds the wire; tests, which ask the whole application without one.
Promises: a part is known here by the name under which `web/exchange.Parts` holds it; what one part needs of another is
handed over here and nowhere else.
Refuses: a table of contexts that cannot be read (Unavailable). A plugin that is unfit is left out and named in the log.
Does not: hold a clock (`wall` comes from main, the city's own from its scene); listen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from shahar import local, plugins
from shahar.config import Settings
from shahar.model.system import Catalogue
from shahar.ports.beside import Beside
from shahar.ports.mqtt import Consumer
from shahar.ports.mqtt_notices import MqttNotices
from shahar.ports.nats import Bounds, Login, NatsServer, hash_key
from shahar.ports.sources import Sources
from shahar.ports.webhooks import Webhooks
from shahar.scenes import Scene
from shahar.services.accounts import NEVER, Accounts
from shahar.services.batches import Batches
from shahar.services.broker import Broker
from shahar.services.contexts import USES, Contexts
from shahar.services.credentials import new_local_secret
from shahar.services.deliveries import Senders
from shahar.services.devices import Devices
from shahar.services.duty import Act, Duty
from shahar.services.entity_maps import EntityMaps
from shahar.services.federation import Federation
from shahar.services.fellows import Fellows
from shahar.services.forwarded import Forwarding
from shahar.services.identity import Identity
from shahar.services.ledger import SETTLE
from shahar.services.notified import Notified
from shahar.services.registration_subscriptions import RegistrationSubscriptions
from shahar.services.registrations import Registrations
from shahar.services.runner import Runner
from shahar.services.sealing import Sealing
from shahar.services.subscriptions import Subscriptions
from shahar.services.transience import Transience
from shahar.store import keep, lock
from shahar.store.db import Database
from shahar.store.engines import connect
from shahar.store.lake import LAKE, Lake
from shahar.values.errors import Unavailable
from shahar.values.instants import SECOND, Instant
from shahar.values.outbound import Outbound
from shahar.web import figures
from shahar.web.exchange import Parts
from shahar.web.picture import Picture

Clock = Callable[[], Instant]


@dataclass(frozen=True, slots=True)
class House:
    """A city that works: its parts as the web floor knows them, its store, the intake of MQTT."""

    parts: Parts
    db: Database
    intake: Intake

    def ready(self) -> Mapping[str, bool]:
        """Which part that a city cannot do without works now."""
        consumer = self.intake.consumer
        return {"store": self.db.running()} | ({"mqtt": consumer.running()} if consumer else {})


@asynccontextmanager
async def house(
    settings: Settings, scene: Scene, wall: Clock, registry: CollectorRegistry, secret: str | None = None
) -> AsyncIterator[House]:
    """Every part, working; the figures of all of them in `registry`. `secret`: that of the folder's owner, where
    another process has written it there.
    """
    async with AsyncExitStack() as stack:
        ground = await _ground(settings, scene, secret, stack)
        beside = Beside()
        stack.push_async_callback(beside.close)
        others = await _others(settings, ground, scene, stack)
        followers = await _followers(ground, others, scene, wall, stack)
        await _sealing(settings, ground.db, scene.now, stack)
        intake = Intake(settings, ground.devices, scene.now)
        await _duty(ground.db, "devices", intake.start, intake.stop, stack)
        ground.fellows.answering[USES] = ground.contexts.told_uses
        await ground.fellows.follow([ground.accounts, ground.contexts, ground.devices, others.registrations])
        stack.push_async_callback(ground.fellows.stop)
        told = Notified(ground.db, others.federation, ground.contexts.get, followers.subscriptions.lane)
        stack.push_async_callback(told.stop)
        shown = {**scene.city.settings, "mqtt_port": settings.mqtt_port}
        city = replace(scene.city, settings=shown)
        parts = Parts(
            now=scene.now,
            wall=wall,
            broker=ground.broker,
            contexts=ground.contexts,
            identity=ground.identity,
            accounts=ground.accounts,
            subscriptions=followers.subscriptions,
            registrations=others.registrations,
            registration_subscriptions=followers.registration_subscriptions,
            devices=ground.devices,
            runner=followers.runner,
            picture=Picture(city, ground.catalogue, ground.broker, followers.runner, scene.pace),
            batches=Batches(beside, packs=ground.db.packs),
            federation=others.federation,
            entity_maps=others.entity_maps,
            forwarding=others.forwarding,
            notifications=told,
        )
        subscriptions, runner = followers.subscriptions, followers.runner
        figures.register(registry, ground.db, ground.devices, runner, subscriptions, intake.counts, ground.contexts)
        yield House(parts, ground.db, intake)


# -- what everything stands on ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ground:
    db: Database
    fellows: Fellows
    webhooks: Webhooks
    notices: MqttNotices
    accounts: Accounts
    contexts: Contexts
    identity: Identity
    catalogue: Catalogue
    broker: Broker
    devices: Devices


async def _ground(settings: Settings, scene: Scene, secret: str | None, stack: AsyncExitStack) -> _Ground:
    """The store, the ways out, who is who, and the door of the city's state."""
    path = settings.data / keep.NAME
    if not settings.database and path.exists() and (steps := keep.missing(path)):
        structlog.get_logger("shahar").warning("the store is brought up to date", schema=keep.SCHEMA, steps=steps)
    if settings.database and secret is None:
        stack.enter_context(lock.owning(path))
    db = connect(settings.store)
    db.lake = Lake(settings.data / LAKE)
    await db.open()
    stack.push_async_callback(db.close)
    fellows = Fellows(db)
    await fellows.start()
    webhooks, notices = _doors(settings, stack)
    accounts = _accounts(settings, db, secret, stack)
    contexts = Contexts(db, webhooks.fetch, table=_context_table(settings.contexts), base=settings.base)
    await contexts.load(scene.now())
    identity = Identity(db)
    await identity.load(scene.now())
    catalogue = _discover(settings)
    broker = Broker(db)
    devices = Devices(db, broker, accounts, catalogue, hash_key)
    await devices.load()
    return _Ground(db, fellows, webhooks, notices, accounts, contexts, identity, catalogue, broker, devices)


def _doors(settings: Settings, stack: AsyncExitStack) -> tuple[Webhooks, MqttNotices]:
    """The ways out to whom strangers name, both behind the same judgement."""
    outbound = Outbound(allow=settings.outbound_allow)
    webhooks, notices = Webhooks(outbound), MqttNotices(outbound)
    stack.push_async_callback(webhooks.close)
    stack.push_async_callback(notices.close)
    return webhooks, notices


def _accounts(settings: Settings, db: Database, given: str | None, stack: AsyncExitStack) -> Accounts:
    """The accounts, and the file by which whoever owns the data folder is an administrator while we run."""
    secret = given or new_local_secret()
    accounts = Accounts(db, access=settings.access, local_secret=secret)
    stack.push_async_callback(accounts.settle)
    if given is None:
        stack.callback(local.write(settings, secret).unlink, missing_ok=True)
    return accounts


def _discover(settings: Settings) -> Catalogue:
    found = plugins.discover(settings.systems)
    for failure in found.failures:
        structlog.get_logger("shahar").warning("plugin left out", plugin=failure.name, why=str(failure))
    return found.catalogue


def _context_table(file: Path | None) -> dict[str, Path]:
    if file is None:
        return {}
    try:
        table = json.loads(file.read_text())
        return {str(address): file.parent / path for address, path in table.items()}
    except (OSError, ValueError, AttributeError) as problem:
        raise Unavailable(f"{file} cannot be read as a table of contexts: {problem}") from None


# -- other brokers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Others:
    registrations: Registrations
    federation: Federation
    entity_maps: EntityMaps
    forwarding: Forwarding


async def _others(settings: Settings, ground: _Ground, scene: Scene, stack: AsyncExitStack) -> _Others:
    """Who else has a share in what is asked of us, and how they are asked."""
    registrations = Registrations(ground.db, scene.now)
    await registrations.start()
    stack.push_async_callback(registrations.stop)
    federation = Federation(registrations, Sources(ground.webhooks), ground.contexts.get, ground.identity.alias)
    entity_maps = EntityMaps(scene.now)
    await entity_maps.start()
    stack.push_async_callback(entity_maps.stop)
    forwarding = Forwarding(ground.db, federation, ground.contexts.get, scene.now, settings.address)
    return _Others(registrations, federation, entity_maps, forwarding)


# -- what follows from a change ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Followers:
    subscriptions: Subscriptions
    registration_subscriptions: RegistrationSubscriptions
    runner: Runner


async def _followers(ground: _Ground, others: _Others, scene: Scene, wall: Clock, stack: AsyncExitStack) -> _Followers:
    """Who reads the journal: subscriptions of either kind; and what ends by itself."""
    db, broker, contexts, now = ground.db, ground.broker, ground.contexts, scene.now
    webhooks, notices = ground.webhooks, ground.notices
    send = Senders({"http": webhooks, "https": webhooks, "mqtt": notices, "mqtts": notices})
    rights = partial(_rights, ground.accounts, wall)
    subscriptions = Subscriptions(db, broker, send, contexts.get, now, contexts.imply, rights, others.forwarding)
    registered = RegistrationSubscriptions(
        db, broker, send, contexts.get, now, partial(rights, resource="registrations")
    )
    subscriptions.dead_letters.join(registered.dead_letters)
    runner = Runner(db, now)
    await runner.start()
    stack.push_async_callback(runner.stop)
    transience = Transience(broker, now)

    async def take_up() -> None:
        await subscriptions.start()
        await registered.start()
        await runner.employ([subscriptions, registered])
        await transience.start()

    async def put_down() -> None:
        await transience.stop()
        await subscriptions.stop()
        await registered.stop()
        await runner.dismiss()
        subscriptions.forget()
        registered.forget()

    async def settle(_: str) -> str:
        await runner.save()
        return ""

    ground.fellows.answering[SETTLE] = settle
    await _duty(db, "consequences", take_up, put_down, stack)
    return _Followers(subscriptions, registered, runner)


async def _sealing(settings: Settings, db: Database, now: Clock, stack: AsyncExitStack) -> None:
    """What moves the days that are over into the lake."""
    assert db.lake is not None
    sealing = Sealing(db, db.lake, now, settings.hot_days)
    await _duty(db, "sealing", sealing.start, sealing.stop, stack)


async def _duty(db: Database, name: str, take_up: Act, put_down: Act, stack: AsyncExitStack) -> None:
    """What one process alone does of all that work on the store."""
    duty = Duty(db, name, take_up, put_down)
    await duty.start()
    stack.push_async_callback(duty.stop)


async def _rights(
    accounts: Accounts, wall: Clock, owner: str, tenant: str, resource: str = "entities"
) -> tuple[frozenset[str] | None, float | None]:
    """What an owner of subscriptions may read (services/owners.Rights), by the wall's clock."""
    types, ends_at = await accounts.reads(owner, tenant, wall(), resource)
    return None if types is None else frozenset(types), None if ends_at >= NEVER else (ends_at - wall()) / SECOND


# -- devices ----------------------------------------------------------------------------------------------------------


class Intake:
    """The MQTT server unless a broker is named or it is off, and our consumer of it; devices are let in when it
    listens.

    `counts`: name -> what the rooms of MQTT have counted since they were last started.
    """

    def __init__(self, settings: Settings, devices: Devices, now: Clock) -> None:
        self._settings, self._devices, self._now = settings, devices, now
        self._stack = AsyncExitStack()
        self.consumer: Consumer | None = None
        self.counts: dict[str, Counter[str]] = {}

    async def start(self) -> None:
        """Listen and consume."""
        if self._settings.mqtt == "off":
            return
        nats = await self._bundled() if self._settings.mqtt == "embedded" else None
        url, client = (nats.url, nats.client_id) if nats else (self._settings.mqtt, "shahar-intake")
        self.consumer = Consumer(url, self._receive, self._now, client_id=client)
        await self.consumer.start()
        self._stack.push_async_callback(self.consumer.stop)
        self.counts |= {"messages": self.consumer.counts} | ({"refused": nats.refusals} if nats else {})
        if nats is not None:
            await self.consumer.subscribed()
            await self._admit(nats)

    async def stop(self) -> None:
        """Stop both."""
        self._devices.admit = None
        await self._stack.aclose()
        self.consumer = None
        self.counts.clear()

    async def _receive(self, device: str, _topic: str, payload: bytes, at: Instant) -> None:
        await self._devices.take(device, payload, at)

    async def _bundled(self) -> NatsServer:
        settings = self._settings
        nats = NatsServer(
            settings.data / "nats",
            host=settings.mqtt_host,
            port=settings.mqtt_port,
            bounds=Bounds(sync_interval_s=settings.sync_interval),
        )
        await nats.start()
        self._stack.push_async_callback(nats.stop)
        return nats

    async def _admit(self, nats: NatsServer) -> None:
        """Let the devices of the register in, now and after each change of it."""

        async def admit(logins: list[tuple[str, str]]) -> None:
            await nats.admit(Login(name, key_hash) for name, key_hash in logins)

        self._devices.admit = admit
        await self._devices.welcome()
