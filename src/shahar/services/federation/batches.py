"""A batch of changes at sources: each source gets one batch of the parts that are its own, or single changes where it
takes no batches.

Promises: a member of the batch succeeds or fails for itself, at every source for itself; a member that a proxied source
holds and cannot take is a Conflict.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.6.7 to 5.6.10, 5.6.20, 5.2.16, 5.2.17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shahar.model.context import Context
from shahar.model.registration import NOBODY, Ask, Parts, Registration, Share
from shahar.services.federation import Federation, Wish, document_for, unsupported
from shahar.services.federation.calls import Origin, Outcome, Reply
from shahar.values.bounds import FEDERATION_SHARES
from shahar.values.errors import Exists, NotCarried, PeerFailed, ShaharError, TooMany

SINGLES: Final[Mapping[str, tuple[str, ...]]] = {
    "createBatch": ("createEntity",),
    "upsertBatch": ("createEntity", "replaceEntity"),
    "updateBatch": ("appendAttrs",),
    "mergeBatch": ("mergeEntity",),
    "deleteBatch": ("deleteEntity",),
}
"""What stands in for a batch at a source that takes none; of an upsert that updates, `_UPDATING`."""
_UPDATING: Final = ("createEntity", "updateEntity")


@dataclass(slots=True)
class Member:
    """One entity of a batch: what is to be done to it, in which @context its body is, and who takes part."""

    wish: Wish
    context: Context
    parts: Parts = NOBODY
    singly: tuple[Share, ...] = ()
    """Shares whose sources take no such batch but the single changes that stand in for it."""

    @property
    def proxied(self) -> bool:
        """Whether sources hold of it what is not held here."""
        return bool(self.parts.exclusive or self.parts.redirect or self.parts.refused) or any(
            share.registration.proxied for share in self.singly
        )

    @property
    def shares(self) -> tuple[Share, ...]:
        """Everybody who takes part, willing or not."""
        return self.parts.asked + self.parts.refused + self.singly


def singles_of(operation: str, *, updating: bool) -> tuple[str, ...]:
    """The single changes that stand in for a batch."""
    return _UPDATING if operation == "upsertBatch" and updating else SINGLES[operation]


def shared_out(federation: Federation, members: Sequence[Member], origin: Origin, *, updating: bool = False) -> None:
    """Find who takes part in each member of a batch. Raises PeerLooped, TooMany."""
    sources: set[str] = set()
    for member in members:
        wish = member.wish
        ask = Ask(wish.operation, ids=(wish.entity_id,), of_types=wish.types, attrs=wish.attrs)
        found = federation.parts(wish.operation, ask, origin)
        singly: dict[str, Share] = {}
        for operation in singles_of(wish.operation, updating=updating):
            also = federation.parts(operation, ask, origin)
            served = {share.registration.id for share in found.asked}
            for share in also.asked:
                if share.registration.id not in served:
                    singly.setdefault(share.registration.id, share)
        refused = tuple(share for share in found.refused if share.registration.id not in singly)
        member.parts, member.singly = replace(found, refused=refused), tuple(singly.values())
        sources |= {share.registration.id for share in member.shares}
    if len(sources) > FEDERATION_SHARES:
        raise TooMany("too many sources would have to be asked", rule=f"at most {FEDERATION_SHARES} requests")


async def change(
    federation: Federation, members: Sequence[Member], origin: Origin, *, updating: bool = False
) -> list[list[Outcome]]:
    """Let every source do its parts; what came of each member, at each of its sources."""
    outcomes: list[list[Outcome]] = [
        [Outcome(share, unsupported(share, member.wish.operation)) for share in member.parts.refused]
        for member in members
    ]
    groups: dict[tuple[str, int], list[tuple[int, Share]]] = {}
    for place, member in enumerate(members):
        for share in member.parts.asked:
            groups.setdefault((share.registration.id, id(member.context)), []).append((place, share))
    together = [_together(federation, members, group, origin) for group in groups.values()]
    apart = [
        _apart(federation, place, share, member, origin, updating)
        for place, member in enumerate(members)
        for share in member.singly
    ]
    for found in await asyncio.gather(*together, *apart):
        for place, outcome in found:
            outcomes[place].append(outcome)
    return outcomes


async def _together(
    federation: Federation, members: Sequence[Member], group: Sequence[tuple[int, Share]], origin: Origin
) -> list[tuple[int, Outcome]]:
    """One batch to one source."""
    first = members[group[0][0]]
    origin = replace(origin, context=first.context)
    documents = [
        document_for(share, members[place].wish.attrs, members[place].wish.document, first.context)
        for place, share in group
    ]
    try:
        call = await federation.call(first.wish.operation, Share(group[0][1].registration), origin)
        reply = await federation.carry(replace(call, document=documents, flags=first.wish.flags))
    except ShaharError as problem:
        return [(place, Outcome(share, problem)) for place, share in group]
    told = _Told(reply)
    return [(place, told.outcome(share, members[place].wish.entity_id)) for place, share in group]


class _Told:
    """What a source says about a batch: which it created, which failed, with which words (5.2.16)."""

    def __init__(self, reply: Reply) -> None:
        document: Any = reply.document
        self.created = set(document) if reply.kind == "created" and _are_texts(document) else None
        self.all_created = reply.kind == "created" and self.created is None
        self.errors: dict[str, str] = {}
        self.vague = False
        if reply.kind == "partly":
            listed = document.get("errors") if isinstance(document, dict) else None
            for one in listed if isinstance(listed, list) else []:
                if isinstance(one, dict):
                    self.errors[str(one.get("entityId", ""))] = _words(one.get("error"))
            self.vague = not self.errors

    def outcome(self, share: Share, entity_id: str) -> Outcome:
        """What came of one entity."""
        why = "the source did a part of the batch and gave no reason" if self.vague else self.errors.get(entity_id)
        if why is not None:
            return Outcome(share, PeerFailed(why))
        return Outcome(share, created=self.all_created or entity_id in (self.created or ()))


def _are_texts(document: Any) -> bool:
    return isinstance(document, list) and all(isinstance(one, str) for one in document)


def _words(error: Any) -> str:
    if not isinstance(error, dict):
        return "the source gave no reason"
    return ": ".join(str(error[key]) for key in ("title", "detail") if key in error)[:300] or "no reason"


async def _apart(
    federation: Federation, place: int, share: Share, member: Member, origin: Origin, updating: bool
) -> list[tuple[int, Outcome]]:
    """The changes that stand in for a batch, one after the other until one is taken."""
    origin = replace(origin, context=member.context)
    problem: ShaharError | None = None
    document = document_for(share, member.wish.attrs, member.wish.document, member.context)
    for operation in singles_of(member.wish.operation, updating=updating):
        if operation not in _offered(share.registration) or (problem is not None and not isinstance(problem, Exists)):
            continue
        try:
            call = await federation.call(operation, share, origin)
            body = None if operation == "deleteEntity" else document
            flags = _single_flags(member.wish)
            reply = await federation.carry(replace(call, entity_id=member.wish.entity_id, document=body, flags=flags))
            return [(place, Outcome(share, created=reply.kind == "created"))]
        except ShaharError as failure:
            problem = failure
    return [(place, Outcome(share, problem or NotCarried("the source takes no such change")))]


def _single_flags(wish: Wish) -> tuple[tuple[str, str], ...]:
    """The options of a batch that its single changes have as well: noOverwrite alone."""
    return wish.flags if wish.operation == "updateBatch" else ()


def _offered(registration: Registration) -> frozenset[str]:
    return registration.operations
