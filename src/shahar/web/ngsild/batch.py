"""Batches: /entityOperations/create, upsert, update, merge, delete. Each entity succeeds or fails for itself; one
transaction for all.

Source: ETSI GS CIM 009 clauses 5.6.7 to 5.6.10, 5.6.20, 6.14 to 6.17, 6.31; the 207 body is BatchOperationResult
(5.2.16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from shahar.model import access
from shahar.model.bulk import Pack, Tried, name_of
from shahar.model.change import Applied, Change, Kind
from shahar.model.context import CORE
from shahar.model.entity import CREATE, PATCH, Reading, check_uri, parse_entity
from shahar.model.told import read_whole
from shahar.services.federation import Federation, Outcome
from shahar.values.bounds import BATCH_ENTITIES
from shahar.values.errors import Invalid, ShaharError, TooLarge
from shahar.web.exchange import JSON, LD_JSON, Request, Response, json_response
from shahar.web.ngsild.distribution import BatchWish, batch, batch_answer, served
from shahar.web.ngsild.negotiate import body_of, context_of, linked_context
from shahar.web.problem import document_of

TURN: Final = 16
"""Entities of a batch that are read before others get their turn: other requests, and the store's writer."""


async def create(request: Request) -> Response:
    """POST /entityOperations/create."""
    local = request.params.flag("local")
    request.params.done()
    sources = served(request, local)
    if sources is not None:
        spread = await _spread(request, sources, await _wishes(request, "create", CREATE), "createBatch")
        return batch_answer(spread, json_response(201, [entity_id for entity_id, _ in spread]))
    results = await _run(request, await _whole(request, "create"))
    created = [entity_id for entity_id, outcome in results if isinstance(outcome, Applied)]
    return _answer(results, json_response(201, created))


async def upsert(request: Request) -> Response:
    """POST /entityOperations/upsert; options=update appends instead of replacing."""
    options = set(request.params.names("options"))
    local = request.params.flag("local")
    request.params.done()
    if not options <= {"replace", "update"}:
        raise Invalid("the option is replace or update", field="options", rule="replace, update")
    sources = served(request, local)
    if sources is not None:
        wishes = await _wishes(request, "upsert", CREATE)
        spread = await _spread(request, sources, wishes, "upsertBatch", options, update="update" in options)
        new = [entity_id for entity_id, outcomes in spread if any(one.created for one in outcomes)]
        return batch_answer(spread, json_response(201, new) if new else Response(204))
    results = await _run(request, await _whole(request, "upsert"), update="update" in options)
    created = [entity_id for entity_id, outcome in results if isinstance(outcome, Applied) and outcome.created]
    return _answer(results, json_response(201, created) if created else Response(204))


async def update(request: Request) -> Response:
    """POST /entityOperations/update; options=noOverwrite keeps what is there."""
    options = set(request.params.names("options"))
    local = request.params.flag("local")
    request.params.done()
    kind: Kind = "append_new" if "noOverwrite" in options else "append"
    sources = served(request, local)
    wishes = await _wishes(request, kind, CREATE)
    if sources is not None:
        return batch_answer(await _spread(request, sources, wishes, "updateBatch", options), Response(204))
    return _answer(await _run(request, wishes), Response(204))


async def merge(request: Request) -> Response:
    """POST /entityOperations/merge."""
    request.params.names("options")
    local = request.params.flag("local")
    request.params.done()
    sources = served(request, local)
    wishes = await _wishes(request, "merge", PATCH)
    if sources is not None:
        return batch_answer(await _spread(request, sources, wishes, "mergeBatch"), Response(204))
    return _answer(await _run(request, wishes), Response(204))


async def delete(request: Request) -> Response:
    """POST /entityOperations/delete: a list of ids."""
    local = request.params.flag("local")
    request.params.done()
    listed = _listed(body_of(request))
    access.demand(request.actor, access.Target("write", "entities", request.tenant))
    wishes: list[Tried] = [Change("delete", check_uri(entity_id, "id")) for entity_id in listed]
    if (sources := served(request, local)) is not None:
        return batch_answer(await _spread(request, sources, wishes, "deleteBatch"), Response(204))
    return _answer(await _run(request, wishes), Response(204))


def _listed(body: Any) -> list[Any]:
    if not isinstance(body, list) or not body:
        raise Invalid("the body is a list that is not empty", field="body", rule="a JSON array with 1 member at least")
    if len(body) > BATCH_ENTITIES:
        raise TooLarge(f"the batch has {len(body)} members", field="body", rule=f"at most {BATCH_ENTITIES}")
    return body


async def _whole(request: Request, kind: Kind) -> list[Tried] | Pack:
    """One wish for each entity of the body, each read as one text, since no source gets a portion of it; a pack of them
    where they are plain, and the actor may have them all.
    """
    if request.media_type != JSON:
        return await _wishes(request, kind, CREATE, whole=True)
    read = request.parts.batches.read
    shared = await context_of(request, [])
    told = await read(kind, request.body, shared, request.at, packed=True)
    if isinstance(told, Pack):
        if _may(request, told):
            return told
        told = await read(kind, request.body, shared, request.at)
    if isinstance(told, list):
        return _allowed(request, told)
    return await _wishes(request, kind, CREATE, whole=True)


def _may(request: Request, pack: Pack) -> bool:
    return all(map(access.may_write(request.actor, request.tenant), pack.kinds))


async def _wishes(request: Request, kind: Kind, reading: Reading, *, whole: bool = False) -> list[Tried]:
    """One wish for each entity of the body; what cannot be read becomes an error in its place. `whole`: each is read as
    one text.
    """
    if request.media_type == LD_JSON and linked_context(request) is not None:
        raise Invalid(
            "application/ld+json carries its @context in the body, not in Link", field="Link", rule="clause 6.3.5"
        )
    shared = None if request.media_type == LD_JSON else await context_of(request, [])
    wishes: list[Tried] = []
    bodies = _listed(body_of(request))
    for number, body in enumerate(bodies):
        bodies[number] = None  # what has been read need not be kept
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)
        context = shared or CORE
        try:
            if shared is not None and isinstance(body, dict) and "@context" in body:
                raise Invalid(
                    "application/json takes its @context from the Link header", field="@context", rule="clause 6.3.5"
                )
            context = shared if shared is not None else await context_of(request, body)
            if whole:
                wishes.append(read_whole(kind, body, context, request.at))
            else:
                doc = parse_entity(body, context, reading)
                wishes.append(Change(kind, doc["id"], doc))
        except ShaharError as problem:
            wishes.append((name_of(body, context), problem))
    return _allowed(request, wishes)


def _allowed(request: Request, wishes: list[Tried]) -> list[Tried]:
    """The wishes; an error in place of each that the actor may not have."""
    allowed: set[tuple[str, ...]] = set()
    for number, wish in enumerate(wishes):
        if isinstance(wish, tuple) or wish.types in allowed:
            continue
        try:
            access.demand(request.actor, access.Target("write", "entities", request.tenant, wish.types))
            allowed.add(wish.types)
        except ShaharError as problem:
            wishes[number] = (wish.id, problem)
    return wishes


async def _run(
    request: Request, wishes: Sequence[Tried] | Pack, *, update: bool = False
) -> list[tuple[str, Applied | ShaharError]]:
    """What came of each wish, in order."""
    if isinstance(wishes, Pack):
        came = await request.parts.broker.take(request.tenant, wishes, update=update)
        return list(zip(wishes.ids, came, strict=True))
    tried = [wish for wish in wishes if not isinstance(wish, tuple)]
    outcomes = iter(await request.parts.broker.apply(request.tenant, tried, request.at, update=update))
    return [wish if isinstance(wish, tuple) else (wish.id, next(outcomes)) for wish in wishes]


async def _spread(
    request: Request,
    sources: Federation,
    wishes: Sequence[Tried],
    operation: str,
    options: Iterable[str] = (),
    *,
    update: bool = False,
) -> list[tuple[str, list[Outcome]]]:
    """What came of each wish here and at the sources that take part."""
    bodies = body_of(request)
    spread: list[BatchWish] = []
    for wish, body in zip(wishes, bodies, strict=True):
        if isinstance(wish, Change):
            inside = body if isinstance(body, dict) and request.media_type == LD_JSON else []
            spread.append((wish, body, await context_of(request, inside)))
        elif isinstance(wish, tuple):
            spread.append(wish)
    flags = (("options", ",".join(sorted(options))),) if options else ()
    return await batch(request, sources, spread, operation, flags, update=update)


def _answer(results: list[tuple[str, Applied | ShaharError]], good: Response) -> Response:
    """`good` when nothing failed, else 207 with who succeeded and who failed, why."""
    failed = [(entity_id, outcome) for entity_id, outcome in results if isinstance(outcome, ShaharError)]
    partly = [(entity_id, outcome) for entity_id, outcome in results if isinstance(outcome, Applied) and outcome.missed]
    if not failed and not partly:
        return good
    errors = [{"entityId": entity_id, "error": document_of(problem)} for entity_id, problem in failed]
    errors += [
        {
            "entityId": entity_id,
            "error": document_of(Invalid("; ".join(f"{iri}: {why}" for iri, why in outcome.missed), field="attrs")),
        }
        for entity_id, outcome in partly
    ]
    bad = {entity_id for entity_id, _ in partly}
    return json_response(
        207,
        {
            "success": [
                entity_id for entity_id, outcome in results if isinstance(outcome, Applied) and entity_id not in bad
            ],
            "errors": errors,
        },
    )
