"""Who somebody is: people, keys, one-time links, browser sessions, devices' keys, and the record of every act on them.

For: `identify` is the only maker of actors; the other acts make and end the credentials that it knows.

Promises
- There is no default password, and no password at all. The first administrator is made by a one-time link that the
  start prints; others are invited by links, programs and returning people use keys. Whoever can read the local key file
  is an administrator, so nobody is locked out of their own machine.
- A credential is random, told once, and kept as its digest (services/credentials).
- Nobody grants more than they hold (`access.may_grant`), and a role's rights are looked up at each identification, not
  copied into keys: a mended role is mended for all who have it.
- A revoked credential is refused from the moment in which `revoke` returns, remembered or not; so are the sessions
  begun with it.
- Every act writes an audit record in its own transaction (who, when, what, about whom), and with it a journal row
  `audit.put`. It is read by `acts`. Secrets and digests stand in no audit record, journal row, listing or message;
  a session's beginning and end are audited, its record and last-used stamps are housekeeping and not journaled.

Everything is a record (`store/records`) of the kinds person, key, device_key, session, link, audit, under the tenant it
belongs to; what is for all tenants is under the default one.

Does not: read headers or know addresses (web/session), count tries (web/rates), read a clock: `at` is the wall clock's
instant, also in the demo, whose own clock must not make keys end.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

from shahar.model.access import (
    ANONYMOUS,
    ANY,
    DEFAULT_TENANT,
    HOUSE,
    LOCAL,
    OPEN,
    PUBLIC,
    ROLES,
    Actor,
    Scope,
    Target,
    demand,
    granted,
    may_grant,
    readable_types,
    scope_document,
    scope_from,
)
from shahar.services.credentials import (
    UNKNOWN,
    Minted,
    Place,
    device_name,
    digest_of,
    home_of,
    mint,
    opens,
    place_of,
    text_of,
    wanted,
)
from shahar.store import journal, records, tenants
from shahar.store.db import Database, Tx
from shahar.store.records import Record
from shahar.values.bounds import (
    CREDENTIAL_CHARS,
    IDENTITIES,
    KEY_DAYS,
    KEY_SCOPES,
    KEY_TYPES,
    KEYS,
    LABEL_CHARS,
    LINK_S,
    LINKS,
    SESSION_IDLE_S,
    SESSION_S,
    TENANT_CHARS,
)
from shahar.values.errors import Forbidden, Invalid, NoTenant, NotFound, ShaharError, TooMany, Unauthenticated
from shahar.values.instants import DAY, MINUTE, SECOND, Instant

T = TypeVar("T")
Access = Literal["closed", "public-read", "open"]

STAMP_EVERY: Final = MINUTE
NEVER: Final = 1 << 62
LOOPBACK: Final = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
ALL_TENANTS: Final = "*"


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed: everything but the secret."""

    id: str
    label: str
    role: str | None
    scopes: tuple[Scope, ...]
    tenant: str
    types: tuple[str, ...]
    made_at: Instant
    made_by: str
    ends_at: Instant
    used_at: Instant | None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who came by a link."""

    id: str
    label: str
    role: str
    tenant: str
    made_at: Instant


@dataclass(frozen=True, slots=True)
class Link:
    """What a one-time link will give to whoever uses it."""

    role: str
    tenant: str
    label: str
    ends_at: Instant
    returning: bool
    """It signs in a person who is there already."""


@dataclass(slots=True)
class _Known:
    """A credential that was looked up; `stamped_at` is when its last use was noted."""

    actor: Actor
    place: Place
    ends_at: Instant
    idle: int
    stamped_at: Instant


class Accounts:
    """The accounts of one store.

    `access`: what those without a credential may: nothing (`closed`), read (`public-read`), everything (`open`).
    `local_secret`: what credentials.new_local_secret gave, kept by main in a file that only the owner reads.
    """

    def __init__(self, db: Database, *, access: Access, local_secret: str | None = None) -> None:
        self._db = db
        self._open = access == "open"
        self._nobody = PUBLIC if access == "public-read" else ANONYMOUS
        self._local = digest_of(local_secret) if local_secret else None
        self._known: dict[bytes, _Known] = {}
        self._generation = 0
        self._stamps: dict[Place, Instant] = {}
        self._stamping: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[Any]] = set()

    # -- who asks -----------------------------------------------------------------------------------------------

    async def identify(self, credential: str | None, at: Instant, *, peer: str | None = None) -> Actor:
        """The actor whose credential this is; Unauthenticated when it is unknown or has ended. `peer`: the asker's
        address."""
        if self._open:
            return OPEN
        if credential is None:
            return self._nobody
        if len(credential) > CREDENTIAL_CHARS or not credential.isascii():
            raise Unauthenticated(UNKNOWN)
        digest = digest_of(credential)
        known = self._known.get(digest)
        if known is not None and at < known.ends_at and at - known.stamped_at < STAMP_EVERY:
            return known.actor
        if credential.startswith("shl_"):
            return self._local_actor(digest, peer)
        return (await self._find(credential, digest, at)).actor

    async def reads(
        self, actor_id: str, tenant: str, at: Instant, resource: str = "entities"
    ) -> tuple[tuple[str, ...] | None, Instant]:
        """The types of which the actor of this id may read `resource` in a tenant now (access.readable_types), and when
        that ends. Who is not there any more reads nothing."""
        if self._open or actor_id in (LOCAL.id, HOUSE.id):
            return None, NEVER
        if actor_id == self._nobody.id:
            return readable_types(self._nobody, resource, tenant), NEVER
        kind, _, key = actor_id.partition(":")
        if kind not in ("person", "key"):
            return (), NEVER
        doc = await self._db.read(lambda tx: records.get(tx, kind, home_of(key), key))
        ends_at = NEVER if doc is None else doc.get("ends_at", NEVER)
        if doc is None or at >= ends_at:
            return (), NEVER
        return readable_types(_actor_of(Place(kind, home_of(key), key), doc), resource, tenant), ends_at

    async def verify_device(self, device: str, secret: str, at: Instant) -> Actor:
        """The device's actor when the key is this device's own (a broker asks at sign-in); else Unauthenticated."""
        actor = (await self._find(secret, digest_of(secret), at)).actor
        if actor.device is None or actor.device != device:
            raise Unauthenticated(UNKNOWN)
        return actor

    def _local_actor(self, digest: bytes, peer: str | None) -> Actor:
        if self._local is None or not hmac.compare_digest(digest, self._local) or peer not in LOOPBACK:
            raise Unauthenticated(UNKNOWN)
        return LOCAL

    async def _find(self, credential: str, digest: bytes, at: Instant) -> _Known:
        known = self._known.get(digest) or await self._look_up(credential, digest)
        if at >= known.ends_at or (known.idle and at - known.stamped_at >= known.idle):
            self._known.pop(digest, None)
            raise Unauthenticated(UNKNOWN)
        if at - known.stamped_at >= STAMP_EVERY:
            known.stamped_at = at
            self._stamp(known.place, at)
        return known

    async def _look_up(self, credential: str, digest: bytes) -> _Known:
        place = place_of(credential)
        if place is None or place.kind == "link":
            raise Unauthenticated(UNKNOWN)
        generation = self._generation
        found = await self._db.read(lambda tx: _known_from(tx, place, digest))
        if found is None:
            raise Unauthenticated(UNKNOWN)
        if generation == self._generation:  # else something was revoked meanwhile, maybe after the snapshot
            if len(self._known) >= IDENTITIES:
                self._known.pop(next(iter(self._known)))
            self._known[digest] = found
        return found

    async def _write_and_forget(self, work: Callable[[Tx], T], gone: Callable[[_Known], bool]) -> T:
        """Do a work that ends credentials and forget them, also when the one who asked is cancelled in between."""

        async def both() -> T:
            result = await self._db.write(work)
            self._generation += 1
            self._known = {digest: known for digest, known in self._known.items() if not gone(known)}
            return result

        task = asyncio.get_running_loop().create_task(both())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return await asyncio.shield(task)

    # -- last use -----------------------------------------------------------------------------------------------

    def _stamp(self, place: Place, at: Instant) -> None:
        self._stamps[place] = at
        if self._stamping is None or self._stamping.done():
            self._stamping = asyncio.get_running_loop().create_task(self._write_stamps())

    async def _write_stamps(self) -> None:
        while self._stamps:
            stamps, self._stamps = self._stamps, {}
            try:
                await self._db.write(partial(_write_stamps, stamps))
            except ShaharError:
                return  # fence: a stamp is a courtesy; a store that cannot write says so to those who change something

    async def settle(self) -> None:
        """Return when what goes on in the background is written; before the store is closed."""
        if self._endings:
            await asyncio.wait(self._endings)
        if self._stamping is not None:
            await self._stamping

    # -- links --------------------------------------------------------------------------------------------------

    async def first_link(self, at: Instant) -> str | None:
        """A new one-time token that makes the administrator, or None when there is one; tokens of earlier starts end
        with it."""
        minted = mint()

        def work(tx: Tx) -> str | None:
            home = tenants.make(tx, DEFAULT_TENANT, at)
            if _administrator_exists(tx):
                return None
            for _, key, doc in records.every(tx, "link", home):
                if doc["first"]:
                    records.drop(tx, "link", home, key, at)
            doc = {
                "role": "administrator",
                "tenant": ALL_TENANTS,
                "label": "",
                "person": None,
                "first": True,
                "made_by": HOUSE.id,
            }
            return _put_link(tx, home, doc, minted, at, HOUSE)

        return await self._db.write(work)

    async def make_link(
        self, role: str, tenant: str, label: str, at: Instant, *, by: Actor, person: str | None = None
    ) -> str:
        """A one-time token that invites somebody to a role in a tenant (`*`: all), or lets the person with that id in
        again."""
        minted = mint()
        if role not in ROLES:
            raise Invalid("a link gives a role", field="role", rule=f"one of {', '.join(ROLES)}")
        given = _grant(role, tenant, ANY, by)
        label = _label(label)

        def work(tx: Tx) -> str:
            home = _home(tx, tenant, at)
            if sum(at < doc["ends_at"] for _, _, doc in records.every(tx, "link", home)) >= LINKS:
                raise TooMany("too many one-time links wait to be used", rule=f"at most {LINKS} for each tenant")
            if person is not None:
                _same_person(tx, home, person, role, tenant)
            doc = {
                "role": given.role,
                "tenant": tenant,
                "label": label,
                "person": person,
                "first": False,
                "made_by": by.id,
            }
            return _put_link(tx, home, doc, minted, at, by)

        return await self._db.write(work)

    async def look_at_link(self, token: str, at: Instant) -> Link:
        """What a link gives, without using it (mail programs open links before people do); Unauthenticated when it has
        ended."""
        place = wanted(token, "link")
        doc = await self._db.read(lambda tx: _link_doc(tx, place, token, at))
        return Link(doc["role"], doc["tenant"], doc["label"], doc["ends_at"], doc["person"] is not None)

    async def use_link(self, token: str, label: str, at: Instant) -> str:
        """The session token of the person whom the link makes or lets in again; the link ends. `label`: their name."""
        place = wanted(token, "link")
        person, session = mint(), mint()

        def work(tx: Tx) -> str:
            doc = _link_doc(tx, place, token, at)
            home = _home(tx, doc["tenant"], at)
            name = "" if doc["person"] else _label(label or doc["label"])
            records.drop(tx, "link", place.home, place.key, at)
            holder = doc["person"] or f"{home}-{person.name}"
            if not doc["person"]:
                made = {
                    "label": name,
                    "role": doc["role"],
                    "tenant": doc["tenant"],
                    "made_at": at,
                    "made_by": doc["made_by"],
                }
                records.put(tx, "person", home, holder, made, at)
                who = Actor(f"person:{holder}", "person", name)
                note(
                    tx,
                    home,
                    at,
                    who,
                    "person.made",
                    holder,
                    role=doc["role"],
                    link=place.key,
                    invited_by=doc["made_by"],
                )
            return _put_session(tx, Place("person", home, holder), session, at)

        return await self._db.write(work)

    # -- people -------------------------------------------------------------------------------------------------

    async def people(self, tenant: str, *, by: Actor) -> list[Person]:
        """Everybody with a role in the tenant."""
        demand(by, Target("read", "accounts", tenant))
        rows = await self._db.read(lambda tx: _rows(tx, "person", tenant))
        return [Person(key, doc["label"], doc["role"], doc["tenant"], doc["made_at"]) for key, doc in rows]

    async def dismiss(self, person: str, at: Instant, *, by: Actor) -> None:
        """End a person's account and all their sessions; NotFound when there is none."""
        await self._end("person", person, at, by)

    # -- keys ---------------------------------------------------------------------------------------------------

    async def make_key(
        self,
        label: str,
        rights: str | Sequence[Scope],
        tenant: str,
        types: Sequence[str],
        days: int,
        at: Instant,
        *,
        by: Actor,
    ) -> tuple[str, str]:
        """(id, the key's text, which is told this once). `rights`: a role's name, limited to `types`, or scopes of
        their own."""
        minted = mint()
        label = _label(label)
        given = _grant(rights, tenant, tuple(types), by)
        if isinstance(days, bool) or not 1 <= days <= KEY_DAYS:
            raise Invalid("a key ends", field="days", rule=f"1 to {KEY_DAYS} days")

        def work(tx: Tx) -> tuple[str, str]:
            home = _home(tx, tenant, at)
            if records.count(tx, "key", home) >= KEYS:
                raise TooMany("the tenant has too many keys; revoke some", rule=f"at most {KEYS} for each tenant")
            doc = given.document() | {
                "label": label,
                "made_at": at,
                "made_by": by.id,
                "ends_at": at + days * DAY,
                "used_at": None,
            }
            key, text = _put_secret(tx, "key", home, minted.name, minted.secret, doc, at)
            note(tx, home, at, by, "key.made", key, role=given.role, name=label, days=days)
            return key, text

        return await self._db.write(work)

    async def keys(self, tenant: str, *, by: Actor) -> list[Key]:
        """The keys of a tenant, ended ones among them until they are revoked; no devices' keys."""
        demand(by, Target("read", "accounts", tenant))
        return [_key_from(key, doc) for key, doc in await self._db.read(lambda tx: _rows(tx, "key", tenant))]

    async def revoke(self, key: str, at: Instant, *, by: Actor) -> None:
        """End a key and the sessions begun with it; NotFound when there is none."""
        await self._end("key", key, at, by)

    async def make_device_key(
        self, device: str, tenant: str, at: Instant, *, by: Actor, days: int | None = None
    ) -> str:
        """The text of the device's key, told this once; an earlier key of the device ends. Without `days` it has no
        end."""
        demand(by, Target("write", "devices", tenant))
        minted = mint()
        ends_at = NEVER if days is None else at + days * DAY

        def work(tx: Tx) -> tuple[str, str]:
            home = _home(tx, tenant, at)
            doc: Record = {
                "device": device,
                "tenant": tenant,
                "made_at": at,
                "made_by": by.id,
                "ends_at": ends_at,
                "used_at": None,
            }
            key, text = _put_secret(tx, "device_key", home, device_name(device), minted.secret, doc, at)
            note(tx, home, at, by, "device_key.made", key, device=device)
            return key, text

        _, text = await self._write_and_forget(work, lambda known: known.actor.device == device)
        return text

    async def revoke_device_key(self, device: str, tenant: str, at: Instant, *, by: Actor) -> bool:
        """End the device's key; whether it had one."""
        demand(by, Target("write", "devices", tenant))

        def work(tx: Tx) -> bool:
            home = _home(tx, tenant, at)
            key = f"{home}-{device_name(device)}"
            if not records.drop(tx, "device_key", home, key, at):
                return False
            note(tx, home, at, by, "device_key.revoked", key, device=device)
            return True

        return await self._write_and_forget(work, lambda known: known.actor.device == device)

    async def _end(self, kind: str, key: str, at: Instant, by: Actor) -> None:
        home = home_of(key)

        def work(tx: Tx) -> None:
            doc = records.get(tx, kind, home, key)
            if doc is None:
                raise NotFound(f"there is no {kind} {key!r:.60}")
            demand(by, Target("admin", "accounts", doc["tenant"]))
            records.drop(tx, kind, home, key, at)
            note(tx, home, at, by, f"{kind}.revoked", key, name=doc["label"])

        await self._write_and_forget(work, lambda known: known.actor.id == f"{kind}:{key}")

    # -- sessions -----------------------------------------------------------------------------------------------

    async def sign_in_with_key(self, key: str, at: Instant) -> str:
        """The token of a browser session that has the key's rights and ends with it at the latest."""
        known = await self._find(key, digest_of(key), at)
        if known.place.kind != "key":
            raise Unauthenticated(UNKNOWN)
        session = mint()
        return await self._db.write(lambda tx: _put_session(tx, known.place, session, at))

    async def sign_out(self, session: str, at: Instant) -> None:
        """End a browser session; one that has ended already is no error."""
        place = place_of(session)
        if place is None or place.kind != "session":
            return
        digest = digest_of(session)

        def work(tx: Tx) -> None:
            doc = records.get(tx, "session", place.home, place.key)
            if doc is not None and opens(doc, digest):
                records.drop(tx, "session", place.home, place.key, at, journaled=False)
                note(tx, place.home, at, Actor(doc["actor"], "person", doc["label"]), "session.ended", place.key)

        await self._write_and_forget(work, lambda known: known.place == place)

    async def sweep(self, at: Instant) -> int:
        """Drop sessions and links that have ended; how many. Called now and then by the runner."""

        def work(tx: Tx) -> int:
            ended = 0
            for kind in ("session", "link"):
                for home, key, doc in records.every(tx, kind):
                    if at >= doc["ends_at"]:
                        ended += records.drop(tx, kind, home, key, at, journaled=kind == "link")
            return ended

        return await self._db.write(work)

    # -- the record of acts -------------------------------------------------------------------------------------

    async def acts(self, tenant: str, *, by: Actor, after: str = "", limit: int = 100) -> list[Record]:
        """Acts on accounts of the tenant, oldest first: {id, at, by, label, act, about, ...}; `after`: the last id
        seen."""
        demand(by, Target("read", "audit", tenant))
        rows = await self._db.read(lambda tx: _rows(tx, "audit", tenant, after=after, limit=limit))
        return [{"id": key} | doc for key, doc in rows]


@dataclass(frozen=True, slots=True)
class _Grant:
    """Rights as they are stored: a role in a tenant for types, or scopes of their own."""

    role: str | None
    tenant: str
    types: tuple[str, ...]
    scopes: tuple[Scope, ...]

    def document(self) -> Record:
        own = None if self.role else [scope_document(scope) for scope in self.scopes]
        return {"role": self.role, "tenant": self.tenant, "types": list(self.types), "scopes": own}


def _grant(rights: str | Sequence[Scope], tenant: str, types: tuple[str, ...], by: Actor) -> _Grant:
    """The rights, when `by` may give them."""
    if len(tenant) > TENANT_CHARS:
        raise Invalid("the tenant's name is too long", field="tenant", rule=f"at most {TENANT_CHARS} characters")
    role = rights if isinstance(rights, str) else None
    if role == "device":
        raise Invalid("a device's key is made with the device", field="role")
    types = ANY if "*" in types else tuple(sorted(set(types)))
    own = () if isinstance(rights, str) else tuple(rights)
    scopes = granted(role, tenant, types) if role else own
    if not scopes or not types or len(own) > KEY_SCOPES or any(len(scope.types) > KEY_TYPES for scope in scopes):
        raise Invalid(
            "rights are a role or scopes, for types", rule=f"1 to {KEY_SCOPES} scopes, 1 to {KEY_TYPES} types each"
        )
    if any(scope.tenant != tenant and tenant != ALL_TENANTS for scope in scopes):
        raise Invalid(f"the key belongs to tenant {tenant!r}: its scopes cannot lie in others", field="scopes.tenant")
    demand(by, Target("admin", "accounts", tenant))
    verdict = may_grant(by, scopes)
    if not verdict.allowed:
        raise Forbidden(verdict.why)
    return _Grant(role, tenant, types, scopes)


def _scopes_of(doc: Record) -> tuple[Scope, ...]:
    if doc.get("scopes") is not None:
        return tuple(scope_from(scope) for scope in doc["scopes"])
    if doc["role"] not in ROLES:  # a role of a later version: its holder has no rights here, and is no error
        return ()
    return granted(doc["role"], doc["tenant"], tuple(doc.get("types", ANY)))


def _key_from(key: str, doc: Record) -> Key:
    return Key(
        key, doc["label"], doc["role"], _scopes_of(doc), doc["tenant"], tuple(doc["types"]),
        doc["made_at"], doc["made_by"], doc["ends_at"], doc["used_at"],
    )  # fmt: skip


def _label(text: str) -> str:
    label = " ".join(text.split())
    if not label or len(label) > LABEL_CHARS or not label.isprintable():
        raise Invalid("a name is needed", field="label", rule=f"1 to {LABEL_CHARS} printable characters")
    return label


# -- works of the store -----------------------------------------------------------------------------------------


def _home(tx: Tx, tenant: str, at: Instant) -> int:
    return tenants.make(tx, DEFAULT_TENANT if tenant == ALL_TENANTS else tenant, at)


def _rows(tx: Tx, kind: str, tenant: str, *, after: str = "", limit: int = 1_000_000) -> list[tuple[str, Record]]:
    try:
        home = tenants.number(tx, DEFAULT_TENANT if tenant == ALL_TENANTS else tenant)
    except NoTenant:
        return []
    return [(key, doc) for _, key, doc in records.every(tx, kind, home, after=after, limit=limit)]


def _put_secret(tx: Tx, kind: str, home: int, name: str, secret: str, doc: Record, at: Instant) -> tuple[str, str]:
    key = f"{home}-{name}"
    text = text_of(kind, key, secret)
    records.put(tx, kind, home, key, doc | {"digest": digest_of(text).hex()}, at, journaled=kind != "session")
    return key, text


def _put_link(tx: Tx, home: int, doc: Record, minted: Minted, at: Instant, by: Actor) -> str:
    key, text = _put_secret(tx, "link", home, minted.name, minted.secret, doc | {"ends_at": at + LINK_S * SECOND}, at)
    note(tx, home, at, by, "link.made", key, role=doc["role"], name=doc["label"])
    return text


def _put_session(tx: Tx, holder: Place, minted: Minted, at: Instant) -> str:
    held = records.get(tx, holder.kind, holder.home, holder.key)
    if held is None:
        raise Unauthenticated(UNKNOWN)
    ends_at = min(at + SESSION_S * SECOND, held.get("ends_at", NEVER))
    actor = f"{holder.kind}:{holder.key}"
    doc = {
        "holder": [holder.kind, holder.home, holder.key],
        "actor": actor,
        "label": held["label"],
        "ends_at": ends_at,
        "used_at": at,
    }
    key, text = _put_secret(tx, "session", holder.home, minted.name, minted.secret, doc, at)
    note(tx, holder.home, at, Actor(actor, "person", held["label"]), "session.begun", key)
    return text


def note(tx: Tx, home: int, at: Instant, by: Actor, act: str, about: str, **more: Any) -> None:
    """One audit record, named so that names sort by time and then by order; `more` never holds a secret."""
    doc = {"at": at, "by": by.id, "label": by.label, "act": act, "about": about} | more
    records.put(tx, "audit", home, f"{at:017d}-{journal.last_seq(tx):012d}", doc, at)


def _link_doc(tx: Tx, place: Place, token: str, at: Instant) -> Record:
    doc = records.get(tx, "link", place.home, place.key)
    if doc is None or at >= doc["ends_at"] or not opens(doc, digest_of(token)):
        raise Unauthenticated("the link is unknown, was used, or has ended")
    if doc["first"] and _administrator_exists(tx):
        raise Unauthenticated("the administrator was made already")
    return doc


def _administrator_exists(tx: Tx) -> bool:
    return any(
        doc["role"] == "administrator" and doc["tenant"] == ALL_TENANTS for _, _, doc in records.every(tx, "person")
    )


def _same_person(tx: Tx, home: int, person: str, role: str, tenant: str) -> None:
    doc = records.get(tx, "person", home, person)
    if doc is None:
        raise NotFound(f"there is no person {person!r:.60} in the tenant")
    if (doc["role"], doc["tenant"]) != (role, tenant):
        raise Invalid(f"{doc['label']} is {doc['role']}; a link to come back changes no role", field="role")


def _known_from(tx: Tx, place: Place, digest: bytes) -> _Known | None:
    doc = records.get(tx, place.kind, place.home, place.key)
    if doc is None or not opens(doc, digest):
        return None
    stamped_at = doc["used_at"] or 0
    if place.kind != "session":
        return _Known(_actor_of(place, doc), place, doc["ends_at"], 0, stamped_at)
    holder = Place(*doc["holder"])
    held = records.get(tx, holder.kind, holder.home, holder.key)
    return (
        None
        if held is None
        else _Known(_actor_of(holder, held), place, doc["ends_at"], SESSION_IDLE_S * SECOND, stamped_at)
    )


def _actor_of(place: Place, doc: Record) -> Actor:
    if place.kind == "device_key":
        return Actor(f"device:{place.key}", "device", doc["device"], granted("device", doc["tenant"]), doc["device"])
    return Actor(
        f"{place.kind}:{place.key}", "person" if place.kind == "person" else "key", doc["label"], _scopes_of(doc)
    )


def _write_stamps(stamps: dict[Place, Instant], tx: Tx) -> None:
    for place, at in stamps.items():
        doc = records.get(tx, place.kind, place.home, place.key)
        if doc is not None:
            records.put(tx, place.kind, place.home, place.key, doc | {"used_at": at}, at, journaled=False)
