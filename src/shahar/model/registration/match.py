"""Which registrations take part in a request, and with which part of what they offer.

Promises: total; a `Share` never names an id, a type or an attribute that its registration does not offer (4.3.6.1), and
nothing that was not asked for.
Does not: look for the registrations that an ask may match (index), send anything.

What matching means, where the clauses leave it open:
- an ask without ids and pattern matches an EntityInfo that has one by its types alone (official case 037_08);
- a known entity (`of_types`) matches an EntityInfo of several types when it has all of them;
- a geo query or a scope query holds back a registration that says where it is or which scopes it has, and no other: of
  one that says nothing it is not known that it has nothing (`strict` asks for a yes: 5.10.2.4);
- a temporal operation reaches a registration without intervals when that names the operation itself.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.12, 4.3.6, 5.10.2.4, 4.10, 4.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shahar.model import query as q
from shahar.model.query import Geo, Node, Pattern
from shahar.model.registration.forms import Attrs, EntityInfo, Information, Registration
from shahar.model.registration.operations import CONSUMPTION, PROVISION, TEMPORAL
from shahar.model.registration.periods import Period, overlaps
from shahar.model.subscription.match import leaves
from shahar.values import places
from shahar.values.instants import Instant

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request is about; a part that is empty or None sets no limit, but no attributes at all: `frozenset()`.

    `operation`: its name in clause 4.20, empty: any (discovery). `types`: the selection of a query; `of_types`: the
    types that the entity of `ids` is known to have. `attrs`: IRIs that are asked for, or that are to be written, None:
    all of them. `via`: aliases of sources that the request has passed. `strict`: a place or a scope that is asked for
    must be said by the registration.
    """

    operation: str = ""
    ids: tuple[str, ...] = ()
    id_pattern: Pattern | None = None
    types: Node | None = None
    of_types: tuple[str, ...] = ()
    attrs: Attrs = None
    datasets: frozenset[str] | None = None
    geo: Geo | None = None
    scope: Node | None = None
    period: Period | None = None
    via: frozenset[str] = frozenset()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What to ask of, or to send to, one source.

    `ids`, `id_pattern` (its text), `types`: which entities, where empty no limit but the request's own. `attrs`: which
    attributes, None: all.
    """

    registration: Registration
    ids: tuple[str, ...] = ()
    id_pattern: str = ""
    types: tuple[str, ...] = ()
    attrs: Attrs = None


@dataclass(frozen=True, slots=True)
class Parts:
    """Who takes part in a request, by the modes in the order of clauses 5.6 and 5.7.

    `refused`: shares of proxied sources that do not offer the operation: of provision a Conflict for these attributes
    (5.6.1.4), of consumption nothing. `taken`: attributes that proxied sources hold, None: all of them; what is to be
    written of these is not written here.
    """

    exclusive: tuple[Share, ...] = ()
    redirect: tuple[Share, ...] = ()
    inclusive: tuple[Share, ...] = ()
    auxiliary: tuple[Share, ...] = ()
    refused: tuple[Share, ...] = ()
    taken: Attrs = frozenset()

    def __bool__(self) -> bool:
        return bool(self.asked or self.refused)

    @property
    def asked(self) -> tuple[Share, ...]:
        """Everybody who is to be contacted."""
        return self.exclusive + self.redirect + self.inclusive + self.auxiliary


NOBODY = Parts()


def parts(registrations: Iterable[Registration], ask: Ask, at: Instant) -> Parts:
    """Who takes part in the request, each with its share."""
    by_mode: dict[str, list[Registration]] = {"exclusive": [], "redirect": [], "inclusive": [], "auxiliary": []}
    for registration in registrations:
        if registration.live(at) and registration.alias not in ask.via:
            by_mode[registration.mode].append(registration)
    sending = ask.operation in PROVISION
    left = _Left(ask, sending)
    exclusive = left.proxied(by_mode["exclusive"])
    redirect = left.proxied(by_mode["redirect"])
    inclusive = left.shared(by_mode["inclusive"])
    auxiliary = left.shared(by_mode["auxiliary"]) if ask.operation in CONSUMPTION else ()
    return Parts(exclusive, redirect, inclusive, auxiliary, tuple(left.refused), left.taken)


@dataclass(slots=True)
class _Left:
    """What is left of a request after those who were served first; only of what is sent (5.6.1.4)."""

    ask: Ask
    sending: bool
    taken: Attrs = frozenset()
    refused: list[Share] = field(default_factory=list)

    def proxied(self, registrations: list[Registration]) -> tuple[Share, ...]:
        ask = self._remaining()
        if ask is None:
            return ()
        found: list[Share] = []
        for registration in registrations:
            for share in shares(registration, ask):
                (found if offers(registration, ask.operation) else self.refused).append(share)
                self.taken = _both(self.taken, share.attrs)
        return tuple(found)

    def shared(self, registrations: list[Registration]) -> tuple[Share, ...]:
        ask = self._remaining()
        if ask is None:
            return ()
        willing = [registration for registration in registrations if offers(registration, ask.operation)]
        return tuple(share for registration in willing for share in shares(registration, ask))

    def _remaining(self) -> Ask | None:
        """The ask without the attributes that are taken; None when nothing is left to be sent."""
        if not self.sending or self.taken == frozenset():
            return self.ask
        if self.taken is None:
            return None
        if self.ask.attrs is None:
            return self.ask
        attrs = self.ask.attrs - self.taken
        return replace(self.ask, attrs=attrs) if attrs else None


def offers(registration: Registration, operation: str) -> bool:
    """Whether the source carries the operation; every one carries none in particular (discovery)."""
    return not operation or operation in registration.operations


def shares(registration: Registration, ask: Ask) -> list[Share]:
    """What of the ask the registration takes, whatever operations it offers: one share for each group of entities that
    one request can name; none when it does not match."""
    if not _datasets_meet(registration, ask) or not _in_time(registration, ask) or not _in_place(registration, ask):
        return []
    found: dict[tuple[tuple[str, ...], str, tuple[str, ...]], Share] = {}
    for information in registration.information:
        for share in _of_information(registration, information, ask):
            key = (share.ids, share.id_pattern, share.types)
            known = found.get(key)
            found[key] = share if known is None else replace(share, attrs=_both(known.attrs, share.attrs))
    return list(_ids_together(found.values()))


def matching(registration: Registration, ask: Ask) -> tuple[int, ...]:
    """Which elements of its information match, by their places; () when it does not match (5.12)."""
    if not _datasets_meet(registration, ask) or not _in_time(registration, ask) or not _in_place(registration, ask):
        return ()
    return tuple(
        place
        for place, information in enumerate(registration.information)
        if any(True for _ in _of_information(registration, information, ask))
    )


def _both(one: Attrs, other: Attrs) -> Attrs:
    """The attributes of both."""
    return None if one is None or other is None else one | other


def _ids_together(found: Iterable[Share]) -> Iterator[Share]:
    """Shares that differ in their ids alone, as one."""
    grouped: dict[tuple[str, tuple[str, ...], Attrs, bool], Share] = {}
    for share in found:
        key = (share.id_pattern, share.types, share.attrs, bool(share.ids))
        known = grouped.get(key)
        ids = share.ids if known is None else tuple(dict.fromkeys([*known.ids, *share.ids]))
        grouped[key] = replace(share, ids=ids)
    return iter(grouped.values())


def _of_information(registration: Registration, information: Information, ask: Ask) -> Iterator[Share]:
    attrs = information.attrs
    if attrs is None:
        attrs = ask.attrs
    elif ask.attrs is not None:
        attrs = attrs & ask.attrs
        if not attrs:
            return
    if not information.entities:
        pattern = ask.id_pattern.source if ask.id_pattern is not None and not ask.ids else ""
        yield Share(registration, ask.ids, pattern, (), attrs)
    for info in information.entities:
        share = _of_entities(registration, info, ask, attrs)
        if share is not None:
            yield share


def _of_entities(registration: Registration, info: EntityInfo, ask: Ask, attrs: Attrs) -> Share | None:
    if not types_match(info, ask):
        return None
    types = _types_to_name(info, ask)
    if ask.ids:
        ids = tuple(one for one in ask.ids if id_matches(info, one))
        return Share(registration, ids, "", types, attrs) if ids else None
    if info.id:
        if ask.id_pattern is not None and not ask.id_pattern.matches(info.id):
            return None
        return Share(registration, (info.id,), "", types, attrs)
    pattern = info.pattern or ask.id_pattern
    return Share(registration, (), pattern.source if pattern is not None else "", types, attrs)


def id_matches(info: EntityInfo, entity_id: str) -> bool:
    """Whether an entity of this id is among those of the EntityInfo; an id wins over a pattern (5.2.8)."""
    if info.id:
        return info.id == entity_id
    return info.pattern is None or info.pattern.matches(entity_id)


def types_match(info: EntityInfo, ask: Ask) -> bool:
    """Whether the EntityInfo may have entities of the types asked for."""
    if not info.types:
        return True
    if ask.of_types and not set(info.types) <= set(ask.of_types):
        return False
    return q.matches_types(ask.types, info.types)


def _types_to_name(info: EntityInfo, ask: Ask) -> tuple[str, ...]:
    if ask.types is None or not info.types:
        return info.types
    wanted = set(leaves(ask.types))
    return tuple(iri for iri in info.types if iri in wanted)


def _datasets_meet(registration: Registration, ask: Ask) -> bool:
    if ask.datasets is None or registration.datasets is None:
        return True
    return not ask.datasets.isdisjoint(registration.datasets)


# -- when and where ---------------------------------------------------------------------------------------------------


def _in_time(registration: Registration, ask: Ask) -> bool:
    """A source of history is not asked for the present, nor one of the present for history (5.10.2.4)."""
    historic = registration.observed is not None or registration.managed is not None
    if ask.period is None:
        return ask.operation in TEMPORAL or not historic or ask.operation in PROVISION
    if not historic:
        return ask.operation in TEMPORAL
    interval = registration.observed if ask.period.by == "observedAt" else registration.managed
    return interval is not None and overlaps(interval, ask.period)


def _in_place(registration: Registration, ask: Ask) -> bool:
    if ask.scope is not None:
        if registration.scopes:
            if not q.matches_scope(ask.scope, registration.scopes):
                return False
        elif ask.strict:
            return False
    if ask.geo is None:
        return True
    shape = next((shape for iri, shape in registration.places if iri == ask.geo.attr), None)
    if shape is None:
        return not ask.strict
    return may_hold(ask.geo, shape)


def may_hold(geo: Geo, shape: BaseGeometry) -> bool:
    """Whether something within the area `shape` may lie to the reference shape as is asked for."""
    reference = geo.shape
    match geo.rel:
        case "near" if geo.max_m is not None:
            return places.within_metres(shape, reference) <= geo.max_m
        case "near":
            return _furthest_m(shape, reference) > (geo.min_m or 0.0)
        case "contains" | "equals":
            return bool(shape.covers(reference))
        case "disjoint":
            return not reference.covers(shape)
        case "within" | "overlaps" | "intersects":
            return bool(reference.intersects(shape))


def _furthest_m(shape: BaseGeometry, reference: BaseGeometry) -> float:
    """Metres from the reference to the corner of the area that is furthest from it."""
    import shapely

    return max(places.within_metres(shapely.Point(corner), reference) for corner in shapely.get_coordinates(shape))
