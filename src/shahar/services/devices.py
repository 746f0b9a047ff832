"""Devices: who they are, what they feed, and the way of a message from bytes to the city's state.

    bytes -> envelope -> decoder -> measurements (all pure, model/reading) -> broker.observe (durable) -> acknowledged

Promises: `take` returns only when the readings are durable, or raises CallerFault when the message is broken: then it
is counted and kept in a bounded list (`broken`), and stops nothing. A frame told twice is kept once, also across a
restart (its counter is remembered in the readings' own transaction); a reading told twice is one row of history.
Does not: listen on sockets; sign devices in (the MQTT server does, by `logins`; HTTP by accounts).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any, Final

import structlog

from shahar.model.access import Actor, Target, demand
from shahar.model.change import Change
from shahar.model.city import ORIGINAL
from shahar.model.reading import Reading, read
from shahar.model.system import REPEAT_S, Catalogue, Profile
from shahar.services.accounts import Accounts
from shahar.services.broker import Broker, Mark
from shahar.store import records, tenants
from shahar.store.db import Database, Tx
from shahar.values import instants
from shahar.values.bounds import BROKEN_KEPT, DEVICE_CHARS, INTAKE_BYTES
from shahar.values.errors import CallerFault, Exists, Invalid, NotFound, TooLarge
from shahar.values.instants import SECOND, Instant

log = structlog.get_logger(__name__)

KIND: Final = "device"
BROKEN: Final = "broken"
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{DEVICE_CHARS}}}", re.ASCII)
LOAD_AT_ONCE: Final = 1_000
FUTURE_S: Final = 86_400
PAST_YEARS: Final = 30


@dataclass(frozen=True, slots=True)
class Device:
    """A thing with a radio or a line, and the entity that it measures.

    `attributes`: the entity's standing attributes (place, name, source), as in an entity document. `identifier`: what
    its messages call it (a DevEUI); `through`: it is a gateway that speaks for devices which its messages name.
    `shifts`: (from which instant on, by how many microseconds) a replay has moved its instants, in order; the original
    ones are kept with each value.
    """

    name: str
    profile: str
    entity: str
    tenant: str = ""
    attributes: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    identifier: str = ""
    through: bool = False
    shifts: Sequence[Sequence[int]] = ()
    key_hash: str = ""

    def original(self, at: Instant) -> Instant | None:
        """When a value that a replay tells of `at` was really measured; None for what is no replay."""
        place = bisect_right(self.shifts, at, key=itemgetter(0))
        return at - self.shifts[place - 1][1] if place else None


@dataclass(slots=True)
class Devices:
    """The register of devices and the intake of their messages. `hash_key` makes what the MQTT server compares a key
    with.
    """

    db: Database
    broker: Broker
    accounts: Accounts
    catalogue: Catalogue
    hash_key: Callable[[str], str]
    counts: Counter[str] = field(default_factory=Counter)
    admit: Callable[[list[tuple[str, str]]], Awaitable[None]] | None = None
    """Told who may sign in to the MQTT server after each change of the register; set by assembly when there is one."""
    _devices: dict[str, Device] = field(default_factory=dict)
    _by_identifier: dict[str, Device] = field(default_factory=dict)
    _broken: int = 0

    async def load(self) -> None:
        """Take up the register from the store."""
        for _, _, doc in await self.db.read(lambda tx: records.every(tx, KIND)):
            self._know(Device(**doc))
        last = await self.db.read(lambda tx: records.every(tx, BROKEN))
        self._broken = max((int(doc["number"]) for _, _, doc in last), default=-1) + 1

    @property
    def follows(self) -> Sequence[str]:
        """The records that it holds in memory (services/fellows)."""
        return (KIND,)

    async def follow(self, changed: Sequence[tuple[str, str]]) -> None:
        """Take in what these devices are now; whoever may sign in is told to the MQTT server."""

        def work(tx: Tx) -> list[dict[str, Any]]:
            found = [records.get(tx, KIND, tenants.number(tx, tenant), name) for tenant, name in changed]
            return [doc for doc in found if doc is not None]

        for doc in await self.db.read(work):
            self._know(Device(**doc))
        await self.welcome()

    async def welcome(self) -> None:
        """Tell the MQTT server who may sign in, where there is one here."""
        if self.admit is not None:
            await self.admit(self.logins())

    def _know(self, device: Device) -> None:
        self._devices[device.name] = device
        if device.identifier:
            self._by_identifier[device.identifier] = device

    def every(self) -> tuple[Device, ...]:
        """All devices in the order of their making."""
        return tuple(self._devices.values())

    def find(self, name: str) -> Device:
        """The device of a name; NotFound."""
        found = self._devices.get(name)
        if found is None:
            raise NotFound(f"device {name!r:.80} is not known", field="device")
        return found

    def logins(self) -> list[tuple[str, str]]:
        """(name, hash of the key) of each device that may sign in to the MQTT server."""
        return [(device.name, device.key_hash) for device in self._devices.values() if device.key_hash]

    async def add(self, device: Device, at: Instant, *, by: Actor) -> str:
        """Register a device and make its entity; the device's key, told this once. Invalid, Forbidden."""
        demand(by, Target("write", "devices", device.tenant))
        if not _NAME.fullmatch(device.name):
            raise Invalid(f"{device.name!r:.80} is no device's name", field="name", rule=_NAME.pattern)
        profile = self._profile(device.profile)
        holder = self._devices.get(device.name)
        if holder is not None and holder.tenant != device.tenant:
            raise Exists(f"device {device.name!r} is another tenant's", field="name")
        key = await self.accounts.make_device_key(device.name, device.tenant, at, by=by)
        known = Device(**{**asdict(device), "key_hash": self.hash_key(key)})
        if not device.through:
            model = self.catalogue.model(profile.type)
            fragment = {"id": device.entity, "type": [model.iri], "attrs": dict(device.attributes)}
            await self.broker.apply(device.tenant, [Change("upsert", device.entity, fragment)], at, update=True)

        def work(tx: Tx) -> None:
            records.put(tx, KIND, tenants.make(tx, device.tenant, at), device.name, asdict(known), at)

        await self.db.write(work)
        self._know(known)
        await self.welcome()
        return key

    def _profile(self, name: str) -> Profile:
        return self.catalogue.profile(name)

    # -- intake -------------------------------------------------------------------------------------------------------

    async def take(self, name: str, body: bytes, at: Instant) -> int:
        """One message of device `name`, arrived at `at`; how many values were new. CallerFault when it is broken."""
        try:
            device, reading = self._read(name, body)
            wish, mark = self._wish(device, reading, at)
        except CallerFault as problem:
            await self._keep_broken(name, body, at, problem)
            raise
        self._count(reading)
        if wish is None:
            return 0
        new = await self.broker.observe(device.tenant, wish, at, mark)
        self.counts["values" if new else "repeats"] += max(new, 1)
        return new

    async def load_many(self, messages: Iterable[tuple[str, bytes, Instant]]) -> int:
        """Messages of the past in the order of time, by the same path but a thousand to a transaction; how many values
        were new.
        """
        total = 0
        group: list[tuple[str, Change, Mark | None, Instant]] = []
        for name, body, at in messages:
            device, reading = self._read(name, body)
            wish, mark = self._wish(device, reading, at)
            self._count(reading)
            if wish is not None:
                group.append((device.tenant, wish, mark, at))
            if len(group) >= LOAD_AT_ONCE:
                total += await self.broker.observe_many(group)
                group = []
        return total + (await self.broker.observe_many(group) if group else 0)

    def _count(self, reading: Reading) -> None:
        self.counts["messages"] += 1
        self.counts["refused"] += len(reading.refused)

    def _read(self, name: str, body: bytes) -> tuple[Device, Reading]:
        """Whose message it is and what it says."""
        if len(body) > INTAKE_BYTES:
            raise TooLarge(f"the message has {len(body)} bytes", field="body", rule=f"at most {INTAKE_BYTES}")
        sender = self.find(name)
        reading = read(self.catalogue, self._profile(sender.profile), body)
        told = reading.uplink.device
        if sender.through:
            device = self._by_identifier.get(told)
            if device is None:
                raise NotFound(f"device {told!r:.80} is not known", field="device")
            return device, read(self.catalogue, self._profile(device.profile), body)
        if told and sender.identifier and told != sender.identifier:
            raise Invalid(
                f"the message is of {told!r:.80}, not of {sender.identifier}",
                field="device",
                rule="a device speaks for itself",
            )
        return sender, reading

    def _wish(self, device: Device, reading: Reading, at: Instant) -> tuple[Change | None, Mark | None]:
        observed = reading.uplink.at if reading.uplink.at is not None else at
        if not at - PAST_YEARS * 366 * 86_400 * SECOND <= observed <= at + FUTURE_S * SECOND:
            raise Invalid(
                f"the instant {instants.text(observed)} cannot be",
                field="at",
                rule=f"at most {FUTURE_S // 3600} h ahead, {PAST_YEARS} years back",
            )
        original = device.original(observed)
        attrs: dict[str, list[dict[str, Any]]] = {}
        for measurement in reading.measurements:
            instance = measurement.instance(observed)
            if original is not None:
                instance["attrs"] = {ORIGINAL: [{"type": "Property", "value": instants.text(original)}]}
            attrs[measurement.attribute.iri] = [instance]
        if not attrs:
            return None, None
        fragment = {"id": device.entity, "type": [reading.model.iri], "attrs": attrs}
        frame = reading.uplink.frame
        mark = Mark(device.name, frame, observed, REPEAT_S * SECOND) if frame is not None else None
        return Change("observe", device.entity, fragment), mark

    async def _keep_broken(self, name: str, body: bytes, at: Instant, problem: CallerFault) -> None:
        """Count a broken message and keep it where it can be looked at; the oldest gives way."""
        unknown = isinstance(problem, NotFound)
        self.counts["unknown" if unknown else "broken"] += 1
        number = self._broken
        self._broken += 1
        doc = {
            "number": number,
            "device": name[:80],
            "at": at,
            "problem": problem.detail,
            "field": problem.field,
            "body": body[:2048].decode("latin-1"),
        }

        def work(tx: Tx) -> None:
            records.put(tx, BROKEN, tenants.make(tx, "", at), f"{number % BROKEN_KEPT:06d}", doc, at, journaled=False)

        await self.db.write(work)

    async def broken(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest broken messages, newest first."""
        kept = await self.db.read(lambda tx: records.every(tx, BROKEN))
        return sorted((doc for _, _, doc in kept), key=lambda doc: -int(doc["number"]))[:limit]
