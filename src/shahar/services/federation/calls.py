"""What passes between federation and the port that speaks to context sources: calls out, replies in.

Promises: a call tells an operation by its name in clause 4.20 and never by an address; of the caller's headers the port
takes what contextSourceInfo asks for (`Origin.headers`), and nothing else.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6, 4.20, 5.2.34, 6.3.17, 6.3.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from shahar.model.context import Context, Source
from shahar.model.registration import Share
from shahar.values.errors import PeerFailed, PeerSilent, ShaharError
from shahar.values.instants import Instant


class Resting(PeerSilent):
    """A source that failed too often is left alone for a while; to the caller it is one that does not answer."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that is being distributed: of which tenant, in which @context, which sources it has passed (`via`,
    as it came)."""

    tenant: str
    context: Context
    at: Instant
    via: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """The names that a source is spoken to with: `link` is the address of their @context, empty for the core.

    `inline`: no address has it, so that it must stand in a body; names outside a body are then whole.
    """

    context: Context
    link: str = ""
    inline: Source = None


@dataclass(frozen=True, slots=True)
class Call:
    """One operation to be done by one source.

    `document` is a body in the terms, without @context; `flags` are options of the operation by the standard's names.
    `limit` and `offset` are those of a query. `unsure`: the types of the entity are not known here, so that the source
    has to hold it against those of the share.
    """

    operation: str
    share: Share
    terms: Terms
    alias: str
    origin: Origin
    timeout_s: float
    entity_id: str = ""
    attr: str = ""
    document: Any = None
    flags: tuple[tuple[str, str], ...] = ()
    limit: int = 0
    offset: int = 0
    unsure: bool = False
    entity_map: str = ""
    """The map that the source made for this question before (5.7.2.4)."""

    @property
    def key(self) -> tuple[str, str]:
        """Whose health this call is about: tenant and registration."""
        return (self.origin.tenant, self.share.registration.id)


@dataclass(frozen=True, slots=True)
class Reply:
    """A source's answer to an operation that it did, wholly or partly. `context`: the @context that the answer names,
    None: that of the call; `entity_map`: the entity map that was used for it; `reach`: from when to when a part of
    the past goes; `location`: where what it made stands, if it says so."""

    kind: Literal["done", "created", "partly"]
    document: Any = None
    context: Source = None
    entity_map: str = ""
    reach: tuple[Instant, Instant] | None = None
    location: str = ""


class Port(Protocol):
    """The way out (ports/sources)."""

    async def send(self, call: Call) -> Reply:
        """The source's reply; PeerSilent, PeerLooped, PeerFailed, or the caller's fault that the source found."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one part of a distributed change: at a source, or here (`share` is None)."""

    share: Share | None
    problem: ShaharError | None = None
    attrs: tuple[str, ...] = ()
    missed: tuple[tuple[str, str], ...] = ()
    """Attributes that were not changed, with the reason, of a part that was done otherwise."""
    created: bool = False

    @property
    def registration_id(self) -> str:
        """Of the source; empty for here."""
        return self.share.registration.id if self.share else ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A source whose part of an answer is not there, and why."""

    registration_id: str
    problem: ShaharError

    @property
    def silent(self) -> bool:
        """Whether it did not answer in time, rather than answering with an error."""
        return isinstance(self.problem, PeerSilent)


__all__ = [
    "Call",
    "Missing",
    "Origin",
    "Outcome",
    "PeerFailed",
    "Port",
    "Reply",
    "Resting",
    "Terms",
]
