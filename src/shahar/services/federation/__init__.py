"""Distributed operations: which registered sources take part in a request, and what they made of it.

Promises
- A tenant without registrations costs one look into a dict (`concerns`).
- A source delays a request up to the time that its registration allows (5.2.34, at most FEDERATION_LONGEST_S), and no
  other source does; all are asked at once.
- A request that has been here before (Via names us) goes no further; what only a source holds is then PeerLooped.
- Nobody is contacted before the caller's rights were held against every part (web asks model/access between `parts` and
  `change`; what comes back is narrowed by `questions`).
- Every request to a source is counted on its registration.
Does not: speak HTTP or open sockets (`Port`); decide who may; change anything here (services/broker does).
Rooms: `calls` (what passes to the port and back), `batches`, `questions`.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6, 5.6, 5.7, 5.12, 6.3.17, 6.3.18.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shahar.model.context import Context, Source
from shahar.model.federation import portion
from shahar.model.registration import NOBODY, Ask, Parts, Registration, Share
from shahar.services.federation.calls import Call, Missing, Origin, Outcome, Port, Reply, Resting, Terms
from shahar.services.registrations import Registrations
from shahar.values.bounds import FEDERATION_LONGEST_S, FEDERATION_S, FEDERATION_SHARES, VIA_HOPS
from shahar.values.errors import Conflict, PeerLooped, ShaharError, TooMany
from shahar.values.instants import Instant

__all__ = [
    "Call",
    "Federation",
    "Missing",
    "Origin",
    "Outcome",
    "Port",
    "Reply",
    "Resting",
    "Terms",
    "Wish",
]

Contexts = Callable[[Source, Instant], Awaitable[Context]]


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that may be distributed: its name in clause 4.20, the entity, and what is to be sent of it.

    `attrs`: the attributes that are written, None: the entity as a whole. `document`: the body as it came, without
    @context.
    """

    operation: str
    entity_id: str
    types: tuple[str, ...] = ()
    attrs: frozenset[str] | None = None
    attr: str = ""
    document: Any = None
    flags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Federation:
    """The service. `alias_of` gives our name in Via for a tenant: each is a source of its own (4.3.6.4), and no name of
    a tenant goes out (services/identity)."""

    registrations: Registrations
    port: Port
    contexts: Contexts
    alias_of: Callable[[str], str]

    def concerns(self, tenant: str) -> bool:
        """Whether the tenant has registrations at all."""
        return self.registrations.any(tenant)

    def parts(self, operation: str, ask: Ask, origin: Origin) -> Parts:
        """Who takes part in a request, by its operation; nobody when it has been here before or too far. Raises
        PeerLooped when it has been here and only a source could do it, TooMany."""
        passed = via_of(origin.via)
        found = self.registrations.parts(origin.tenant, _with(ask, operation, frozenset(passed)), origin.at)
        if len(found.asked) > FEDERATION_SHARES:
            rule = f"at most {FEDERATION_SHARES} requests to sources"
            raise TooMany("too many sources would have to be asked", field="query", rule=rule)
        if self.alias_of(origin.tenant) not in passed and len(passed) < VIA_HOPS:
            return found
        if found.exclusive or found.redirect:
            raise PeerLooped(
                f"the request has passed {self.alias_of(origin.tenant)} before", field="Via", rule="clause 6.3.18"
            )
        return NOBODY

    async def change(self, parts: Parts, wish: Wish, origin: Origin) -> list[Outcome]:
        """Let every source do its part of the change, all at once; what came of each, refusals first."""
        refused = [Outcome(share, unsupported(share, wish.operation), _named(share, wish)) for share in parts.refused]
        sent = [self._sent(share, wish, origin) for share in parts.asked]
        return refused + list(await asyncio.gather(*sent))

    async def _sent(self, share: Share, wish: Wish, origin: Origin) -> Outcome:
        attrs = _named(share, wish)
        try:
            call = await self.call(wish.operation, share, origin)
            reply = await self.carry(
                _filled(call, wish, document_for(share, wish.attrs, wish.document, origin.context))
            )
        except ShaharError as problem:
            return Outcome(share, problem, attrs)
        return Outcome(share, None, attrs, missed_in(reply, attrs), reply.kind == "created")

    async def call(self, operation: str, share: Share, origin: Origin) -> Call:
        """A call of the operation to the source of a share, without what it is about."""
        registration = share.registration
        terms = await self._terms(registration, origin)
        wanted = registration.management.timeout_s
        timeout_s = min(wanted, FEDERATION_LONGEST_S) if wanted is not None else float(FEDERATION_S)
        return Call(operation, share, terms, self.alias_of(origin.tenant), origin, timeout_s)

    async def carry(self, call: Call) -> Reply:
        """Send a call, counted on its registration. Raises what the port does."""
        tenant, registration_id = call.key
        try:
            reply = await self.port.send(call)
        except Resting:
            raise
        except ShaharError:
            self.registrations.count(tenant, registration_id, False, call.origin.at)
            raise
        self.registrations.count(tenant, registration_id, True, call.origin.at)
        return reply

    async def _terms(self, registration: Registration, origin: Origin) -> Terms:
        wanted = registration.instruction("jsonldContext")
        if wanted:
            return Terms(await self.contexts(wanted, origin.at), wanted)
        source = origin.context.source
        if isinstance(source, list) and len(source) == 1:
            source = source[0]
        if not source or isinstance(source, str):
            return Terms(origin.context, source or "")
        return Terms(origin.context, inline=source)


def via_of(header: str) -> tuple[str, ...]:
    """The sources that a Via header names: of "1.1 alias (comment)" the alias."""
    found = []
    for part in header.split(","):
        words = part.split()
        if words:
            found.append(words[1] if len(words) > 1 else words[0])
    return tuple(found)


def _with(ask: Ask, operation: str, passed: frozenset[str]) -> Ask:
    return replace(ask, operation=operation, via=passed)


def _named(share: Share, wish: Wish) -> tuple[str, ...]:
    """The attributes that a part of a change is about, as far as they are known."""
    if wish.attr:
        return (wish.attr,)
    return tuple(sorted(share.attrs if share.attrs is not None else wish.attrs or ()))


def document_for(share: Share, attrs: frozenset[str] | None, document: Any, context: Context) -> Any:
    """What of a body is for this source."""
    if not isinstance(document, dict) or attrs is None or share.attrs is None or share.attrs >= attrs:
        return document
    return portion(document, share.attrs, context)


def _filled(call: Call, wish: Wish, document: Any) -> Call:
    return replace(
        call, entity_id=wish.entity_id, attr=wish.attr, document=document, flags=wish.flags, unsure=not wish.types
    )


def unsupported(share: Share, operation: str) -> Conflict:
    """Why a proxied source that does not offer the operation makes it fail (5.6.1.4)."""
    return Conflict(
        f"registration {share.registration.id} holds this elsewhere and does not offer {operation}",
        field="operations",
        rule="ETSI GS CIM 009 clause 4.3.6.3",
    )


_NO_REASON: Final = "the source did a part of it and gave no reason"


def missed_in(reply: Reply, attrs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The attributes that a source says it has not changed, with its reasons, of a reply that tells of a part."""
    if reply.kind != "partly":
        return ()
    document = reply.document if isinstance(reply.document, dict) else {}
    listed = document.get("notUpdated")
    found = [
        (str(one.get("attributeName", ""))[:1_024], str(one.get("reason", _NO_REASON))[:300])
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    ]
    return tuple(found) or tuple((attr, _NO_REASON) for attr in attrs) or (("", _NO_REASON),)
