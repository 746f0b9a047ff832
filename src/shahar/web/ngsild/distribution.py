"""Requests that registered context sources take part in: what is asked of federation, and how the answers are put
together for the caller.

Promises: a tenant without registrations costs the caller of `served` one look into a dict. A write goes to a source
only if the actor might write it here: the types of the entity, where they are known, or else those of the registration
are held against the actor's rights before anything is sent. A read that lacks a source's part says so in
NGSILD-Warning.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.6, 5.7, 5.2.16 to 5.2.19, 6.3.17, 6.3.18.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shahar.model import access
from shahar.model.change import Applied, Change
from shahar.model.context import Context
from shahar.model.entity import Doc
from shahar.model.query import Query
from shahar.model.registration import Ask, Parts, Share
from shahar.services.federation import Federation, Missing, Origin, Outcome, Wish
from shahar.services.federation.batches import Member, shared_out
from shahar.services.federation.batches import change as change_batch
from shahar.services.federation.questions import in_pieces
from shahar.values.errors import NotFound, PeerFailed, ShaharError
from shahar.web.exchange import Params, Request, Response, json_response
from shahar.web.problem import document_of

HERE: Final = "urn:ngsi-ld:ContextSourceRegistration:local"
"""In the place of a registration where a purge succeeded or failed here."""
ATTRIBUTE_OPERATIONS: Final = frozenset({"updateEntity", "appendAttrs", "updateAttrs", "replaceAttrs", "deleteAttrs"})


def served(request: Request, local: bool) -> Federation | None:
    """Federation, when sources may take part in this request (6.3.18: `local` says no)."""
    federation = request.parts.federation
    return None if local or federation is None or not federation.concerns(request.tenant) else federation


def origin_of(request: Request, context: Context) -> Origin:
    """The request as the origin of calls to sources."""
    return Origin(request.tenant, context, request.at, request.headers.get("via", ""), request.headers)


# -- one change -------------------------------------------------------------------------------------------------------


async def change(
    request: Request,
    federation: Federation,
    wanted: Change,
    operation: str,
    context: Context,
    body: dict[str, Any] | None,
    good: Response,
    flags: Iterable[tuple[str, str]] = (),
) -> Response:
    """Do a change here and at the sources that take part in it; `good` when all of it was done."""
    held = await _held(request, wanted.id)
    types = tuple(dict.fromkeys([*wanted.fragment.get("type", ()), *(held["type"] if held else ())]))
    attrs = _written(wanted)
    document = None if body is None else {key: value for key, value in body.items() if key != "@context"}
    wish = Wish(operation, wanted.id, types, attrs, wanted.attr, document, tuple(flags))
    origin = origin_of(request, context)
    parts = federation.parts(operation, Ask(operation, ids=(wanted.id,), of_types=types, attrs=attrs), origin)
    _check_rights(request, types, (*parts.asked, *parts.refused))
    rest = _rest(wanted, attrs, parts)
    remote = federation.change(parts, wish, origin)
    if rest is None:
        outcomes = await remote
    else:
        here, outcomes = await asyncio.gather(_here(request, rest, forgiving=_proxied(parts)), remote)
        outcomes = here + outcomes
    return _answer(wish, outcomes, good)


def _written(wanted: Change) -> frozenset[str] | None:
    """The attributes that a change writes; None: the entity as a whole."""
    if wanted.attr:
        return frozenset({wanted.attr})
    return None if wanted.kind == "delete" else frozenset(wanted.fragment.get("attrs", ()))


def _proxied(parts: Parts) -> bool:
    return bool(parts.exclusive or parts.redirect or parts.refused)


def _check_rights(request: Request, types: Sequence[str], shares: Iterable[Share]) -> None:
    """Forbidden when the actor may not write entities of these types, or of those that a source is registered for."""
    for share in shares:
        target = access.Target("write", "entities", request.tenant, tuple(types) or share.types)
        access.demand(request.actor, target)


def _rest(wanted: Change, attrs: frozenset[str] | None, parts: Parts) -> Change | None:
    """What of the change is for here, after proxied sources took theirs; None: nothing."""
    if not _proxied(parts) or attrs is None:
        return wanted
    if parts.taken is None or not attrs - parts.taken:
        return None
    kept = {iri: instances for iri, instances in wanted.fragment["attrs"].items() if iri not in parts.taken}
    return replace(wanted, fragment={**wanted.fragment, "attrs": kept})


async def _held(request: Request, entity_id: str) -> Doc | None:
    try:
        return await request.parts.broker.get(request.tenant, entity_id)
    except NotFound:
        return None


async def _here(request: Request, wanted: Change, *, forgiving: bool) -> list[Outcome]:
    """The change done here. `forgiving`: what is deleted may be held by proxied sources alone."""
    names = tuple(sorted(_written(wanted) or ()))
    try:
        applied = await request.parts.broker.change(request.tenant, wanted, request.at)
    except NotFound as problem:
        if forgiving and wanted.kind == "delete":
            return []
        return [Outcome(None, problem, names)]
    except ShaharError as problem:
        return [Outcome(None, problem, names)]
    return [Outcome(None, None, tuple(applied.updated) or names, tuple(applied.missed), applied.created)]


def _answer(wish: Wish, outcomes: Sequence[Outcome], good: Response) -> Response:
    if not any(one.problem or one.missed for one in outcomes):
        return good
    if len(outcomes) == 1 and outcomes[0].problem is not None:
        raise outcomes[0].problem
    headers = [header for header in good.headers if header[0] == b"location"]
    if wish.operation in ATTRIBUTE_OPERATIONS:
        return json_response(207, _update_result(outcomes), headers=headers)
    return json_response(207, _batch_result([(wish.entity_id, outcomes)]), headers=headers)


def _update_result(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """UpdateResult (5.2.18)."""
    updated: list[str] = []
    missed: list[dict[str, str]] = []
    for one in outcomes:
        named = {"registrationId": one.registration_id} if one.share else {}
        if one.problem is not None:
            missed += [{"attributeName": iri, "reason": one.problem.detail, **named} for iri in one.attrs]
            continue
        missed += [{"attributeName": iri, "reason": reason, **named} for iri, reason in one.missed]
        updated += [iri for iri in one.attrs if iri not in dict(one.missed)]
    return {"updated": list(dict.fromkeys(updated)), "notUpdated": missed}


def _batch_result(members: Iterable[tuple[str, Sequence[Outcome]]]) -> dict[str, Any]:
    """BatchOperationResult (5.2.16): an entity is among the successes when a part of it was done somewhere."""
    success: list[str] = []
    errors: list[dict[str, Any]] = []
    for entity_id, outcomes in members:
        if any(one.problem is None for one in outcomes):
            success.append(entity_id)
        for one in outcomes:
            problem = one.problem
            if problem is None and one.missed:
                problem = PeerFailed("; ".join(f"{iri}: {why}" for iri, why in one.missed))
            if problem is not None:
                named = {"registrationId": one.registration_id} if one.share else {}
                errors.append({"entityId": entity_id, "error": document_of(problem), **named})
    return {"success": list(dict.fromkeys(success)), "errors": errors}


async def purged(
    request: Request, federation: Federation, query: Query, context: Context, here: Coroutine[Any, Any, Any],
    good: Response, among: Mapping[str, Sequence[str]] | None = None,
) -> Response:  # fmt: skip
    """Purge `here` and at the sources that hold some of what the question finds (5.6.21); `good` when all of it was
    done. `among`: the entities of a map alone, by registration."""
    origin = origin_of(request, context)
    asked = Params(request.headers.get(":query", "").encode("latin-1"))
    flags = tuple((name, text) for name in _PURGE if name in asked and (text := asked.take(name)))
    ask = Ask(
        ids=query.ids, id_pattern=query.id_pattern, types=query.types, attrs=frozenset(query.attrs) or None,
        geo=query.geo, scope=query.scope,
    )  # fmt: skip
    try:
        parts = federation.parts("purgeEntity", ask, origin)
        if among is not None:
            parts = replace(parts, refused=tuple(one for one in parts.refused if one.registration.id in among))
        _check_rights(request, (), parts.asked)
    except BaseException:
        here.close()
        raise
    if among is None:
        remote = [federation.change(parts, Wish("purgeEntity", "", flags=flags), origin)]
    else:
        remote = [federation.change(Parts(refused=parts.refused), Wish("purgeEntity", ""), origin)]
        remote += [_purged_of_map(federation, share, flags, among, origin) for share in parts.asked]
    local, *outcomes = await asyncio.gather(_done(here), *remote)
    return _purge_answer([*local, *(one for listed in outcomes for one in listed)], good)


async def _purged_of_map(
    federation: Federation, share: Share, flags: Sequence[tuple[str, str]], among: Mapping[str, Sequence[str]],
    origin: Origin,
) -> list[Outcome]:  # fmt: skip
    """Purge at one source those entities alone that a map names, whatever its registration offers."""
    rest = [flag for flag in flags if flag[0] not in {"id", "idPattern"}]
    found: list[Outcome] = []
    for piece in in_pieces("purgeEntity", share, among):
        wish = Wish("purgeEntity", "", flags=(*rest, ("id", ",".join(piece.ids))))
        found += await federation.change(Parts(inclusive=(piece,)), wish, origin)
    return found


_PURGE: Final = (
    "type", "id", "idPattern", "attrs", "q", "scopeQ", "georel", "geometry", "coordinates", "geoproperty",
    "drop", "keep",
)  # fmt: skip


async def _done(here: Coroutine[Any, Any, Any]) -> list[Outcome]:
    try:
        await here
    except NotFound:  # there is no such tenant here yet: nothing to delete
        pass
    except ShaharError as problem:
        return [Outcome(None, problem)]
    return [Outcome(None)]


def _purge_answer(outcomes: Sequence[Outcome], good: Response) -> Response:
    """What failed is told of the registration, for no entity is known by name."""
    if not any(one.problem or one.missed for one in outcomes):
        return good
    return json_response(207, _batch_result([(one.registration_id or HERE, [one]) for one in outcomes]))


# -- batches ----------------------------------------------------------------------------------------------------------

BatchWish = tuple[Change, Any, Context] | tuple[str, ShaharError]
"""A change to try with the body that it was read from and that body's @context, or what could not be read and why."""


async def batch(
    request: Request,
    federation: Federation,
    wishes: Sequence[BatchWish],
    operation: str,
    flags: tuple[tuple[str, str], ...] = (),
    *,
    update: bool = False,
) -> list[tuple[str, list[Outcome]]]:
    """Do a batch here and at the sources that take part; what came of each of its members."""
    tried = [wish for wish in wishes if len(wish) == 3]
    held = await asyncio.gather(*(_held(request, one.id) for one, _, _ in tried))
    members = [
        _member(wanted, body, context, doc, operation, flags)
        for (wanted, body, context), doc in zip(tried, held, strict=True)
    ]
    origin = origin_of(request, tried[0][2]) if tried else None
    if origin is not None:
        shared_out(federation, members, origin, updating=update)
    for member in members:
        _check_rights(request, member.wish.types, member.shares)
    rests = [_batch_rest(wanted, member) for (wanted, _, _), member in zip(tried, members, strict=True)]
    done: Iterator[list[Outcome]] = iter(())
    if origin is not None:
        local, remote = await asyncio.gather(
            _batch_here(request, members, rests, update), change_batch(federation, members, origin, updating=update)
        )
        done = iter([one + other for one, other in zip(local, remote, strict=True)])
    return [(wish[0].id, next(done)) if len(wish) == 3 else (wish[0], [Outcome(None, wish[1])]) for wish in wishes]


def _member(
    wanted: Change, body: Any, context: Context, doc: Doc | None, operation: str, flags: tuple[tuple[str, str], ...]
) -> Member:
    types = tuple(dict.fromkeys([*wanted.fragment.get("type", ()), *(doc["type"] if doc else ())]))
    document = {key: value for key, value in body.items() if key != "@context"} if isinstance(body, dict) else body
    return Member(Wish(operation, wanted.id, types, _written(wanted), "", document, flags), context)


def _batch_rest(wanted: Change, member: Member) -> Change | None:
    taken: frozenset[str] | None = frozenset()
    for share in member.shares:
        if share.registration.proxied:
            taken = None if taken is None or share.attrs is None else taken | share.attrs
    attrs = member.wish.attrs
    if not member.proxied or attrs is None:
        return wanted
    if taken is None or not attrs - taken:
        return None
    kept = {iri: instances for iri, instances in wanted.fragment["attrs"].items() if iri not in taken}
    return replace(wanted, fragment={**wanted.fragment, "attrs": kept})


async def _batch_here(
    request: Request, members: Sequence[Member], rests: Sequence[Change | None], update: bool
) -> list[list[Outcome]]:
    """The batch done here, as far as it is for here."""
    tried = [rest for rest in rests if rest is not None]
    results = iter(await request.parts.broker.apply(request.tenant, tried, request.at, update=update) if tried else ())
    found: list[list[Outcome]] = []
    for member, rest in zip(members, rests, strict=True):
        outcome = next(results) if rest is not None else None
        if outcome is None or (isinstance(outcome, NotFound) and member.proxied and member.wish.attrs is None):
            found.append([])
        elif isinstance(outcome, Applied):
            found.append([Outcome(None, None, (), tuple(outcome.missed), outcome.created)])
        else:
            found.append([Outcome(None, outcome)])
    return found


def batch_answer(results: Sequence[tuple[str, list[Outcome]]], good: Response) -> Response:
    """`good` when nothing failed, else who succeeded and who failed, why and where."""
    if any(one.problem or one.missed for _, outcomes in results for one in outcomes):
        return json_response(207, _batch_result(results))
    return good


# -- reads ------------------------------------------------------------------------------------------------------------


def warnings(federation: Federation, request: Request, missing: Iterable[Missing]) -> list[tuple[bytes, bytes]]:
    """NGSILD-Warning for every source whose part is missing (6.3.17)."""
    alias = federation.alias_of(request.tenant)
    return [(b"ngsild-warning", _warning(alias, one).encode("latin-1", "replace")) for one in missing]


def _warning(alias: str, one: Missing) -> str:
    code = 199 if one.silent or not one.registration_id else 299
    said = "".join(char if char.isprintable() and char not in '"\\' else " " for char in one.problem.detail)
    return f'{code} {alias} "{one.registration_id or "loop"}: {said[:300]}"'


__all__ = ["batch", "batch_answer", "change", "origin_of", "purged", "served", "warnings"]
