"""A notification that came from a context source, read: entities, what went from them, what was before.

Promises: whatever JSON it is given, what comes back is entities or Invalid, TooLarge: a source is a stranger.
Does not: decide what the source may tell (registration/forwarding.within), whom it concerns.
Source: ETSI GS CIM 009 V1.9.1 clauses 5.3.1, 5.8.6, 4.5.0 (urn:ngsi-ld:null in notifications), 5.2.14.1.
"""

from __future__ import annotations

from typing import Any, Final

from shahar.model.context import Context
from shahar.model.entity import NULL, VALUE_MEMBER
from shahar.model.federation import received
from shahar.model.subscription import Seen
from shahar.values.bounds import NOTIFIED_ENTITIES
from shahar.values.errors import Invalid, TooLarge
from shahar.values.instants import Instant

RULE: Final = "ETSI GS CIM 009 clause 5.3.1"
_PREVIOUS: Final = {"previous" + member[0].upper() + member[1:]: member for member in VALUE_MEMBER.values()}

_NO_ATTRIBUTES: Final = frozenset({"id", "@id", "type", "@type", "scope", "createdAt", "modifiedAt", "expiresAt"})


def entities_of(document: Any) -> list[dict[str, Any]]:
    """The entities in a notification's data, not read yet; Invalid, TooLarge."""
    if not isinstance(document, dict) or document.get("type") != "Notification":
        raise Invalid("the body is no notification", field="type", rule=RULE)
    data = document.get("data")
    listed = [data] if isinstance(data, dict) else data
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Invalid("the data of a notification are entities", field="data", rule=RULE)
    if len(listed) > NOTIFIED_ENTITIES:
        raise TooLarge("too many entities", field="data", rule=f"at most {NOTIFIED_ENTITIES} entities")
    return listed


def seen_in(body: dict[str, Any], context: Context, at: Instant) -> Seen:
    """What is told of one entity at this instant; Invalid, TooLarge."""
    living: dict[str, Any] = {}
    dead: dict[str, list[dict[str, Any]]] = {}
    before: dict[str, list[dict[str, Any]]] = {}
    for name, value in body.items():
        if name == "deletedAt" or (name == "scope" and value == NULL):
            continue
        if name in _NO_ATTRIBUTES:
            living[name] = value
            continue
        told, gone, was = _sorted_out(value)
        if told is not None:
            living[name] = told
        if gone:
            dead[context.expand(name)] = gone
        if was:
            before[name] = was
    doc = received(living, context)
    old = received({"id": doc["id"], "type": body.get("type"), **before}, context)["attrs"] if before else {}
    known = {(iri, one.get("datasetId", "")): one for iri, instances in old.items() for one in instances}
    rows = [_row(iri, one, known) for iri, gone in dead.items() for one in gone]
    went = {(row[0], row[1]) for row in rows}
    other = [[iri, dataset, one] for (iri, dataset), one in known.items() if (iri, dataset) not in went]
    return Seen(doc, rows, at, "deletedAt" in body, other)


def _row(iri: str, stone: dict[str, Any], known: dict[tuple[str, str], Any]) -> list[Any]:
    dataset = stone.get("datasetId", "")
    if not isinstance(dataset, str):
        raise Invalid("a datasetId is a text", field="datasetId", rule=RULE)
    old = known.get((iri, dataset))
    return [iri, dataset] if old is None else [iri, dataset, old]


def _sorted_out(value: Any) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """Of a member: what is there, the tombstones of what went, and what was before, as instances."""
    if value == NULL:
        return None, [{}], []
    listed = value if isinstance(value, list) else [value]
    if not any(isinstance(one, dict) and (_is_gone(one) or not one.keys().isdisjoint(_PREVIOUS)) for one in listed):
        return value, [], []
    told = [{k: v for k, v in one.items() if k not in _PREVIOUS} if isinstance(one, dict) else one for one in listed
            if not (isinstance(one, dict) and _is_gone(one))]  # fmt: skip
    gone = [one for one in listed if isinstance(one, dict) and _is_gone(one)]
    was = [old for one in listed if isinstance(one, dict) and (old := _before(one))]
    return (told if isinstance(value, list) else told[0]) if told else None, gone, was


def _is_gone(one: dict[str, Any]) -> bool:
    return any(
        one.get(member) == NULL or one.get(member) == {"@none": NULL} or one.get(member) == [NULL]
        for member in VALUE_MEMBER.values()
    )


def _before(one: dict[str, Any]) -> dict[str, Any]:
    """What an instance was, as an instance; empty where that is not told."""
    for name, member in _PREVIOUS.items():
        if name in one:
            dataset = {"datasetId": one["datasetId"]} if "datasetId" in one else {}
            return {member: one[name], **({"type": one["type"]} if "type" in one else {}), **dataset}
    return {}
