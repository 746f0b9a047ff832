"""Many whole entities of one JSON text, read in another process: the question that it is asked, and its answer.

For: batches, whose reading takes as long as their writing. Both sides are of one program and one version, so question
and answer are Python's own marshalled values: an entity that was told already (model/told) costs 2 us to take over
where reading it costs 28.
Promises: `wishes(answer(question(...)))` is what `read_whole` makes of each member, a refused one with its error; None
when the text is no plain list of entities in one @context, which the asker then reads, and refuses, itself. A batch of
plain entities alone may come as a `Pack`, of which no member is an object of ours (store/packs takes it in).
Does not: start processes (ports/beside); decide who may; read members that carry an @context of their own.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import orjson

from shahar.model.aliases import id_in
from shahar.model.change import Change, Kind
from shahar.model.context import Context, compile_context
from shahar.model.told import Whole, Wish, read_whole
from shahar.values import errors
from shahar.values.bounds import BATCH_ENTITIES
from shahar.values.errors import ShaharError
from shahar.values.instants import Instant

Tried = Wish | tuple[str, ShaharError]
"""A change to try, or the id of an entity that could not be read and why."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Plain entities of different ids as rows, told to be created or upserted at `at`.

    `ids`: in their order. `kinds`: the lists of types that there are, `shapes`: the shapes (model/shape), `attrs`: the
    attributes; `shaped`: the number of each entity's shape. `image`: the rows (store/packing).
    """

    kind: Kind
    at: Instant
    ids: list[str]
    kinds: list[list[str]]
    shapes: list[str]
    shaped: list[int]
    attrs: list[str]
    image: bytes


_FIELDS: Final = tuple(each.name for each in fields(Pack))

Packing = Callable[[Kind, Sequence[Any], Context, Instant], Pack | None]
"""Makes a pack of the members of a batch; None when they are not all plain."""

_CONTEXTS: Final = 16
"""Compiled contexts, and their texts, that each side remembers."""


def name_of(body: Any, context: Context) -> str:
    """The id under which the failure of a member is told; empty when it has none."""
    return id_in(body, context) if isinstance(body, dict) else ""


def question(kind: Kind, body: bytes, context: Context, at: Instant, *, packed: bool = False) -> bytes:
    """The wish to read `body`, a JSON array of entities to `create` or to `upsert`, at instant `at`; `packed`: into a
    pack, if they can be.
    """
    return marshal.dumps((kind, body, _packed(context), at, packed))


def answer(asked: bytes, packing: Packing) -> bytes:
    """What came of each member of what `question` asked."""
    kind, body, context, at, packed = marshal.loads(asked)
    try:
        bodies = orjson.loads(body)
    except orjson.JSONDecodeError:
        bodies = None
    if not _plain(bodies):
        return marshal.dumps(None)
    compiled = _compiled(context)
    if packed and (pack := packing(kind, bodies, compiled, at)):
        return marshal.dumps(tuple(getattr(pack, name) for name in _FIELDS))
    return marshal.dumps([_told(one) for one in _tried(kind, bodies, compiled, at)])


def wishes(answered: bytes | memoryview) -> list[Tried] | Pack | None:
    """The members in their order, or all of them as a pack; None when the asker is to read the text itself."""
    told = marshal.loads(answered)
    if isinstance(told, tuple):
        return Pack(*told)
    return None if told is None else [_taken(one) for one in told]


@lru_cache(maxsize=_CONTEXTS)
def _packed(context: Context) -> bytes:
    return orjson.dumps([context.source, context.documents])


@lru_cache(maxsize=_CONTEXTS)
def _compiled(packed: bytes) -> Context:
    source, documents = orjson.loads(packed)
    return compile_context(source, documents)


def _plain(bodies: Any) -> bool:
    if not isinstance(bodies, list) or not 0 < len(bodies) <= BATCH_ENTITIES:
        return False
    return not any(isinstance(body, dict) and "@context" in body for body in bodies)


def _tried(kind: Kind, bodies: Sequence[Any], context: Context, at: Instant) -> list[Tried]:
    found: list[Tried] = []
    for body in bodies:
        try:
            found.append(read_whole(kind, body, context, at))
        except ShaharError as problem:
            found.append((name_of(body, context), problem))
    return found


def _told(tried: Tried) -> tuple[Any, ...]:
    if isinstance(tried, Whole):
        return _packed_whole(tried)
    if isinstance(tried, Change):
        return tried.kind, tried.id, tried.fragment
    name, problem = tried
    return name, type(problem).__name__, problem.detail, problem.field, problem.rule


def _packed_whole(whole: Whole) -> tuple[Any, ...]:
    """The texts of the instances stand in that of the entity: where, is told instead of them."""
    text, start = whole.text, 0
    lines: list[Any] = []
    for iri, dataset, observed, line in whole.lines:
        found = text.find(line, start)
        start = found if found >= 0 else text.index(line)  # the instances of one attribute stand together
        lines += (iri, dataset, observed, start, start + len(line))
    return whole.kind, whole.id, whole.shell, lines, whole.multi, text, whole.shape, whole.plain, whole.at


def _taken(told: tuple[Any, ...]) -> Tried:
    if len(told) == 9:
        kind, entity_id, shell, lines, multi, text, shape, plain, at = told
        fields = iter(lines)
        each = [
            (iri, dataset, observed, text[start:end])
            for iri, dataset, observed, start, end in zip(fields, fields, fields, fields, fields, strict=True)
        ]
        return Whole(kind, entity_id, shell, each, multi, text, shape, plain, at)
    if len(told) == 3:
        return Change(*told)
    name, problem, detail, field, rule = told
    return name, getattr(errors, problem)(detail, field=field, rule=rule)
