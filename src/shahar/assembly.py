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
from shahar.services.contexts import Contexts
from shahar.services.credentials import new_local_secret
from shahar.services.deliveries import Senders
from shahar.services.devices import Devices
from shahar.services.entity_maps import EntityMaps
from shahar.services.federation import Federation
from shahar.services.forwarded import Forwarding
from shahar.services.identity import Identity
from shahar.services.notified import Notified
from shahar.services.registration_subscriptions import RegistrationSubscriptions
from shahar.services.registrations import Registrations
from shahar.services.runner import Runner
from shahar.services.sealing import Sealing
from shahar.services.subscriptions import Subscriptions
from shahar.services.transience import Transience
from shahar.store import keep
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
    """A city that works: its parts as the web floor knows them, its store, the consumer of MQTT when there is one."""

    parts: Parts
    db: Database
    consumer: Consumer | None

    def ready(self) -> Mapping[str, bool]:
        """Which part that a city cannot do without works now."""
        return {"store": self.db.running()} | ({"mqtt": self.consumer.running()} if self.consumer else {})


@asynccontextmanager
async def house(settings: Settings, scene: Scene, wall: Clock, registry: CollectorRegistry) -> AsyncIterator[House]:
    """Every part, working; the figures of all of them in `registry`."""
    async with AsyncExitStack() as stack:
        ground = await _ground(settings, scene, stack)
        beside = Beside()
        stack.push_async_callback(beside.close)
        others = await _others(settings, ground, scene, stack)
        followers = await _followers(ground, others, scene, wall, stack)
        await _sealing(settings, ground.db, scene.now, stack)
        told = Notified(ground.db, others.federation, ground.contexts.get, followers.subscriptions.lanes())
        stack.push_async_callback(told.stop)
        consumer, counts = await _mqtt(settings, ground.devices, scene.now, stack)
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
            batches=Batches(beside),
            federation=others.federation,
            entity_maps=others.entity_maps,
            forwarding=others.forwarding,
            notifications=told,
        )
        subscriptions, runner = followers.subscriptions, followers.runner
        figures.register(registry, ground.db, ground.devices, runner, subscriptions, counts, ground.contexts)
        yield House(parts, ground.db, consumer)


# -- what everything stands on ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ground:
    db: Database
    webhooks: Webhooks
    notices: MqttNotices
    accounts: Accounts
    contexts: Contexts
    identity: Identity
    catalogue: Catalogue
    broker: Broker
    devices: Devices


async def _ground(settings: Settings, scene: Scene, stack: AsyncExitStack) -> _Ground:
    """The store, the ways out, who is who, and the door of the city's state."""
    path = settings.data / keep.NAME
    if not settings.database and path.exists() and (steps := keep.missing(path)):
        structlog.get_logger("shahar").warning("the store is brought up to date", schema=keep.SCHEMA, steps=steps)
    db = connect(settings.store)
    db.lake = Lake(settings.data / LAKE)
    await db.open()
    stack.push_async_callback(db.close)
    webhooks, notices = _doors(settings, stack)
    accounts = _accounts(settings, db, stack)
    contexts = Contexts(db, webhooks.fetch, table=_context_table(settings.contexts), base=settings.base)
    await contexts.load(scene.now())
    identity = Identity(db)
    await identity.load(scene.now())
    catalogue = _discover(settings)
    broker = Broker(db)
    devices = Devices(db, broker, accounts, catalogue, hash_key)
    await devices.load()
    return _Ground(db, webhooks, notices, accounts, contexts, identity, catalogue, broker, devices)


def _doors(settings: Settings, stack: AsyncExitStack) -> tuple[Webhooks, MqttNotices]:
    """The ways out to whom strangers name, both behind the same judgement."""
    outbound = Outbound(allow=settings.outbound_allow)
    webhooks, notices = Webhooks(outbound), MqttNotices(outbound)
    stack.push_async_callback(webhooks.close)
    stack.push_async_callback(notices.close)
    return webhooks, notices


def _accounts(settings: Settings, db: Database, stack: AsyncExitStack) -> Accounts:
    """The accounts, and the file by which whoever owns the data folder is an administrator while we run."""
    secret = new_local_secret()
    accounts = Accounts(db, access=settings.access, local_secret=secret)
    stack.push_async_callback(accounts.settle)
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
    runner = Runner(db, now, [subscriptions, registered])
    transience = Transience(broker, now)
    for part in (subscriptions, registered, runner, transience):
        await part.start()
    for part in (runner, registered, subscriptions, transience):
        stack.push_async_callback(part.stop)
    return _Followers(subscriptions, registered, runner)


async def _sealing(settings: Settings, db: Database, now: Clock, stack: AsyncExitStack) -> None:
    """What moves the days that are over into the lake."""
    assert db.lake is not None
    sealing = Sealing(db, db.lake, now, settings.hot_days)
    await sealing.start()
    stack.push_async_callback(sealing.stop)


async def _rights(
    accounts: Accounts, wall: Clock, owner: str, tenant: str, resource: str = "entities"
) -> tuple[frozenset[str] | None, float | None]:
    """What an owner of subscriptions may read (services/owners.Rights), by the wall's clock."""
    types, ends_at = await accounts.reads(owner, tenant, wall(), resource)
    return None if types is None else frozenset(types), None if ends_at >= NEVER else (ends_at - wall()) / SECOND


# -- devices ----------------------------------------------------------------------------------------------------------


async def _mqtt(
    settings: Settings, devices: Devices, now: Clock, stack: AsyncExitStack
) -> tuple[Consumer | None, dict[str, Counter[str]]]:
    """The MQTT server unless a broker is named or it is off, and our consumer of it; devices are let in when it
    listens.
    """
    if settings.mqtt == "off":
        return None, {}
    nats = await _bundled(settings, stack) if settings.mqtt == "embedded" else None
    url, client = (nats.url, nats.client_id) if nats else (settings.mqtt, "shahar-intake")

    async def receive(device: str, _topic: str, payload: bytes, at: Instant) -> None:
        await devices.take(device, payload, at)

    consumer = Consumer(url, receive, now, client_id=client)
    await consumer.start()
    stack.push_async_callback(consumer.stop)
    if nats is not None:
        await consumer.subscribed()
        await _admit(nats, devices)
    return consumer, {"messages": consumer.counts} | ({"refused": nats.refusals} if nats else {})


async def _bundled(settings: Settings, stack: AsyncExitStack) -> NatsServer:
    nats = NatsServer(
        settings.data / "nats",
        host=settings.mqtt_host,
        port=settings.mqtt_port,
        bounds=Bounds(sync_interval_s=settings.sync_interval),
    )
    await nats.start()
    stack.push_async_callback(nats.stop)
    return nats


async def _admit(nats: NatsServer, devices: Devices) -> None:
    """Let the devices of the register in, now and after each change of it."""

    async def admit(logins: list[tuple[str, str]]) -> None:
        await nats.admit(Login(name, key_hash) for name, key_hash in logins)

    devices.admit = admit
    await admit(devices.logins())
