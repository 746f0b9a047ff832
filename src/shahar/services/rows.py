"""One change as rows: document, history and journal, written together in the writer's transaction.

For: services/broker and services/past, which decide what changes. An instance is made text once, for all three.
Promises: what `applied` and `told` say is what the three tables say afterwards; a change that left nothing new writes
no row.
Does not: think about meaning (model/change); read what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from shahar.model.change import Applied
from shahar.model.entity import Doc, Instance
from shahar.model.told import Line, Whole, account, tell
from shahar.services import previous
from shahar.store import entities, history, journal
from shahar.store.db import Tx
from shahar.values.instants import Instant


def create(tx: Tx, tenant: int, whole: Whole) -> Applied:
    """The rows of a whole entity under an id that was never used: nothing is there to be compared or taken away."""
    applied = Applied(whole.shell, created=True)
    if whole.plain:
        return _plain(tx, tenant, None, whole, applied, whole.text)
    pk = entities.put(tx, tenant, whole.id, None, None, whole.shell, whole.text, whole.multi, whole.shape)
    names = history.names(tx)
    rows = [_row(names, pk, whole.at, line) for line in whole.lines]
    history.append(tx, rows + _scopes(names, pk, None, applied, whole.at))
    journal.append(tx, tenant, whole.at, "entity.created", whole.id, whole.what)
    return applied


def replace_plain(tx: Tx, tenant: int, held: entities.Held, whole: Whole) -> Applied | None:
    """The rows of a plain entity in the place of a plain one of the same shape: nothing goes, and what was there need
    not be read. None when it is not so, or somebody wants to know what was there.
    """
    if not whole.plain or held.plain is None or held.gone or previous.wanted(tx, tenant):
        return None
    shape, created, modified = held.plain
    if shape != whole.shape or whole.at <= modified:
        return None
    applied = Applied(whole.shell | {"createdAt": created}, shell=True)
    return _plain(tx, tenant, held, whole, applied, whole.dressed(applied.doc or {}))


def _plain(tx: Tx, tenant: int, held: entities.Held | None, whole: Whole, applied: Applied, text: str) -> Applied:
    pk = entities.put_plain(tx, tenant, held, whole, applied.doc or {}, text)
    names, at = history.names(tx), whole.at
    history.append(tx, [_row(names, pk, at, line) for line in whole.lines])
    kind = "entity.updated" if held else "entity.created"
    journal.append(tx, tenant, at, kind, whole.id, whole.what)
    return applied


def write(
    tx: Tx,
    tenant: int,
    entity_id: str,
    held: entities.Held | None,
    old: Doc | None,
    applied: Applied,
    at: Instant,
    whole: Whole | None = None,
) -> None:
    """The rows of a change of the entity that was `old`. `whole`: all of the entity afterwards, of which `applied.doc`
    then holds the shell alone.
    """
    told = whole or tell(applied.set)
    pk = document(tx, tenant, entity_id, held, old, applied, at, whole)
    names = history.names(tx)
    rows: list[history.Key] = []
    if applied.doc is not None:
        modified = applied.doc["modifiedAt"]
        rows = [_row(names, pk, modified, line) for line in told.lines]
    if applied.gone:
        rows += [_tombstone(names, pk, iri, instance, at) for iri, instance in applied.gone]
    if applied.shell or applied.created or applied.doc is None:
        rows += _scopes(names, pk, old, applied, at)
    if rows:
        history.append(tx, rows)
    if applied.late:
        late = zip(applied.late, tell(applied.late).lines, strict=True)
        fresh = history.add(tx, [_row(names, pk, given[1]["modifiedAt"], line) for given, line in late])
        applied.late = [given for given, new in zip(applied.late, fresh, strict=True) if new]
    if rows or applied.late or applied.created or applied.shell or applied.doc is None:
        kind = "entity.deleted" if applied.doc is None else "entity.created" if applied.created else "entity.updated"
        put = ((iri, orjson.loads(text)) for iri, _, _, text in whole.lines) if whole else applied.set
        before = previous.told(tx, tenant, old, put, ends=applied.doc is None)
        if whole and not before and not applied.gone:
            what = whole.what
        else:
            types = applied.doc["type"] if applied.doc else old["type"] if old else []
            what = accounted(types, applied, told.attrs, before)
        journal.append(tx, tenant, at, kind, entity_id, what)


def document(
    tx: Tx,
    tenant: int,
    entity_id: str,
    held: entities.Held | None,
    old: Doc | None,
    applied: Applied,
    at: Instant,
    whole: Whole | None = None,
) -> int:
    """The row of the document alone; its number."""
    doc = applied.doc
    if doc is None:
        assert held is not None
        assert old is not None
        return entities.bury(tx, tenant, entity_id, held, old, at)
    if whole is not None:
        plain = (whole.shape, doc["createdAt"], whole.at) if whole.plain else None
        return entities.put(tx, tenant, entity_id, held, old, doc, whole.dressed(doc), whole.multi, whole.shape, plain)
    if applied.set or applied.gone or applied.created or applied.shell:
        multi = sum(map(len, doc["attrs"].values())) > len(doc["attrs"])
        return entities.put(tx, tenant, entity_id, held, old, doc, orjson.dumps(doc).decode(), multi)
    assert held is not None
    return held.pk


def _row(names: Mapping[str, int], pk: int, modified: Instant, line: Line) -> history.Key:
    iri, dataset, observed, text = line
    if observed is None:
        return (pk, modified, names[iri], names[dataset] if dataset else 0, history.UNOBSERVED, modified, text)
    return (pk, observed, names[iri], names[dataset] if dataset else 0, history.OBSERVED, modified, text)


def _tombstone(names: Mapping[str, int], pk: int, iri: str, instance: Instance, at: Instant) -> history.Key:
    dataset = instance.get("datasetId")
    kept = {key: value for key, value in instance.items() if key in {"type", "datasetId"}} | {"modifiedAt": at}
    text = orjson.dumps(kept).decode()
    return (pk, at, names[iri], names[dataset] if dataset else 0, history.DELETED, at, text)


def _scopes(names: Mapping[str, int], pk: int, old: Doc | None, applied: Applied, at: Instant) -> list[history.Key]:
    """What history keeps of a change of scopes (clause 4.5.6); nothing where they were told with instants of their
    own."""
    scopes = applied.doc.get("scope") if applied.doc else None
    if scopes == (old.get("scope") if old else None) or any(iri == history.SCOPE for iri, _ in applied.late):
        return []
    at = applied.doc["modifiedAt"] if applied.doc else at
    one: Instance = {"type": "Property", "createdAt": at, "modifiedAt": at}
    if not scopes:
        return [_tombstone(names, pk, history.SCOPE, one, at)]
    one |= {"value": scopes, "observedAt": at}
    return [_row(names, pk, at, line) for line in tell([(history.SCOPE, one)]).lines]


def accounted(types: list[str], applied: Applied, attrs: str, before: Mapping[str, Any] | None = None) -> str:
    """The journal's account of a change, with what services/previous tells besides.

    {"set": {IRI: [instance]}, "types", "gone": [[IRI, datasetId, instance as it was]], "late": {IRI: [instance]}}.
    """
    rest: dict[str, Any] = {"types": types, **(before or {})}
    if applied.gone:
        rest["gone"] = [[iri, instance.get("datasetId", ""), instance] for iri, instance in applied.gone]
    if applied.late:
        rest["late"] = late = dict[str, list[Instance]]()
        for iri, instance in applied.late:
            late.setdefault(iri, []).append(instance)
    return account(attrs, rest)
