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
belongs to; what is for all tenants is under the default one. The rooms: `rights` what may be given and whom it makes,
`people` and their links, `keys`, `sessions`, the `memory` of credentials, and the `book` that all are written to.

Does not: read headers or know addresses (web/session), count tries (web/rates), read a clock: `at` is the wall clock's
instant, also in the demo, whose own clock must not make keys end.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final, Literal

from shahar.model.access import (
    ANONYMOUS,
    ANY,
    HOUSE,
    LOCAL,
    OPEN,
    PUBLIC,
    ROLES,
    Actor,
    Scope,
    Target,
    demand,
    readable_types,
)
from shahar.services.accounts import book, sessions
from shahar.services.accounts import keys as keyring
from shahar.services.accounts import people as register
from shahar.services.accounts.book import NEVER, note
from shahar.services.accounts.keys import Key
from shahar.services.accounts.memory import Memory
from shahar.services.accounts.people import Link, Person
from shahar.services.accounts.rights import actor_of, grant, label_of
from shahar.services.credentials import UNKNOWN, Place, digest_of, home_of, mint, place_of, wanted
from shahar.store import records
from shahar.store.db import Database
from shahar.store.records import Record
from shahar.values.bounds import CREDENTIAL_CHARS, KEY_DAYS
from shahar.values.errors import Invalid, Unauthenticated
from shahar.values.instants import DAY, Instant

__all__ = ["NEVER", "Access", "Accounts", "Key", "Link", "Person", "note"]

Access = Literal["closed", "public-read", "open"]
LOOPBACK: Final = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class Accounts:
    """The accounts of one store.

    `access`: what those without a credential may: nothing (`closed`), read (`public-read`), everything (`open`).
    `local_secret`: what credentials.new_local_secret gave, kept by assembly in a file that only the owner reads.
    """

    def __init__(self, db: Database, *, access: Access, local_secret: str | None = None) -> None:
        self._db = db
        self._open = access == "open"
        self._nobody = PUBLIC if access == "public-read" else ANONYMOUS
        self._local = digest_of(local_secret) if local_secret else None
        self.memory = Memory(db)

    # -- who asks -----------------------------------------------------------------------------------------------------

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
        actor = self.memory.fresh(digest, at)
        if actor is not None:
            return actor
        if credential.startswith("shl_"):
            return self._local_actor(digest, peer)
        return (await self.memory.find(credential, digest, at)).actor

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
        return readable_types(actor_of(Place(kind, home_of(key), key), doc), resource, tenant), ends_at

    async def verify_device(self, device: str, secret: str, at: Instant) -> Actor:
        """The device's actor when the key is this device's own (a broker asks at sign-in); else Unauthenticated."""
        actor = (await self.memory.find(secret, digest_of(secret), at)).actor
        if actor.device is None or actor.device != device:
            raise Unauthenticated(UNKNOWN)
        return actor

    def _local_actor(self, digest: bytes, peer: str | None) -> Actor:
        if self._local is None or not hmac.compare_digest(digest, self._local) or peer not in LOOPBACK:
            raise Unauthenticated(UNKNOWN)
        return LOCAL

    follows = ("person", "key", "audit")
    """The records whose changes may end a credential that is remembered; what ends a session is audited."""

    async def follow(self, _changed: Sequence[tuple[str, str]]) -> None:
        """Look up every credential again (services/fellows)."""
        self.memory.forget()

    async def settle(self) -> None:
        """Return when what goes on in the background is written; before the store is closed."""
        await self.memory.settle()

    # -- links and people ---------------------------------------------------------------------------------------------

    async def first_link(self, at: Instant) -> str | None:
        """A new one-time token that makes the administrator, or None when there is one; tokens of earlier starts end
        with it."""
        minted = mint()
        return await self._db.write(lambda tx: register.first_link(tx, minted, at))

    async def make_link(
        self, role: str, tenant: str, label: str, at: Instant, *, by: Actor, person: str | None = None
    ) -> str:
        """A one-time token that invites somebody to a role in a tenant (`*`: all), or lets the person with that id in
        again."""
        minted = mint()
        if role not in ROLES:
            raise Invalid("a link gives a role", field="role", rule=f"one of {', '.join(ROLES)}")
        given, name = grant(role, tenant, ANY, by), label_of(label)
        return await self._db.write(lambda tx: register.make_link(tx, given, name, person, minted, at, by))

    async def look_at_link(self, token: str, at: Instant) -> Link:
        """What a link gives, without using it (mail programs open links before people do); Unauthenticated when it has
        ended."""
        place = wanted(token, "link")
        return register.link_from(await self._db.read(lambda tx: register.look_at_link(tx, place, token, at)))

    async def use_link(self, token: str, label: str, at: Instant) -> str:
        """The session token of the person whom the link makes or lets in again; the link ends. `label`: their name."""
        place = wanted(token, "link")
        person, session = mint(), mint()
        return await self._db.write(lambda tx: register.use_link(tx, place, token, label, person, session, at))

    async def people(self, tenant: str, *, by: Actor) -> list[Person]:
        """Everybody with a role in the tenant."""
        demand(by, Target("read", "accounts", tenant))
        rows = await self._db.read(lambda tx: book.rows(tx, "person", tenant))
        return [register.person_from(key, doc) for key, doc in rows]

    async def dismiss(self, person: str, at: Instant, *, by: Actor) -> None:
        """End a person's account and all their sessions; NotFound when there is none."""
        await self._end("person", person, at, by)

    # -- keys ---------------------------------------------------------------------------------------------------------

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
        name = label_of(label)
        given = grant(rights, tenant, tuple(types), by)
        if isinstance(days, bool) or not 1 <= days <= KEY_DAYS:
            raise Invalid("a key ends", field="days", rule=f"1 to {KEY_DAYS} days")
        return await self._db.write(lambda tx: keyring.make(tx, given, name, days, minted, at, by))

    async def keys(self, tenant: str, *, by: Actor) -> list[Key]:
        """The keys of a tenant, ended ones among them until they are revoked; no devices' keys."""
        demand(by, Target("read", "accounts", tenant))
        rows = await self._db.read(lambda tx: book.rows(tx, "key", tenant))
        return [keyring.key_from(key, doc) for key, doc in rows]

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
        return await self.memory.ending(
            lambda tx: keyring.make_for_device(tx, device, tenant, ends_at, minted, at, by),
            lambda known: known.actor.device == device,
        )

    async def revoke_device_key(self, device: str, tenant: str, at: Instant, *, by: Actor) -> bool:
        """End the device's key; whether it had one."""
        demand(by, Target("write", "devices", tenant))
        return await self.memory.ending(
            lambda tx: keyring.end_of_device(tx, device, tenant, at, by), lambda known: known.actor.device == device
        )

    async def _end(self, kind: str, key: str, at: Instant, by: Actor) -> None:
        await self.memory.ending(
            lambda tx: book.end(tx, kind, key, at, by), lambda known: known.actor.id == f"{kind}:{key}"
        )

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def sign_in_with_key(self, key: str, at: Instant) -> str:
        """The token of a browser session that has the key's rights and ends with it at the latest."""
        known = await self.memory.find(key, digest_of(key), at)
        if known.place.kind != "key":
            raise Unauthenticated(UNKNOWN)
        session = mint()
        return await self._db.write(lambda tx: sessions.begin(tx, known.place, session, at))

    async def sign_out(self, session: str, at: Instant) -> None:
        """End a browser session; one that has ended already is no error."""
        place = place_of(session)
        if place is None or place.kind != "session":
            return
        digest = digest_of(session)
        await self.memory.ending(lambda tx: sessions.end(tx, place, digest, at), lambda known: known.place == place)

    async def sweep(self, at: Instant) -> int:
        """Drop sessions and links that have ended; how many. Called now and then by the runner."""
        return await self._db.write(lambda tx: sessions.sweep(tx, at))

    # -- the record of acts -------------------------------------------------------------------------------------------

    async def acts(self, tenant: str, *, by: Actor, after: str = "", limit: int = 100) -> list[Record]:
        """Acts on accounts of the tenant, oldest first: {id, at, by, label, act, about, ...}; `after`: the last id
        seen."""
        demand(by, Target("read", "audit", tenant))
        rows = await self._db.read(lambda tx: book.rows(tx, "audit", tenant, after=after, limit=limit))
        return [{"id": key} | doc for key, doc in rows]
