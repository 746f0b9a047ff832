"""Transient entities and attributes: what has an end, when the next one is, and what is left after it.

An entity, an attribute's instance and an attribute of an attribute may each carry `expiresAt`.
Source: ETSI GS CIM 009 clauses 4.8, 4.22. The past is refused as an end, which the clause leaves open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shahar.model.entity import Doc, Instance
from shahar.values.errors import Invalid
from shahar.values.instants import Instant


def check(element: Doc | Instance, at: Instant) -> None:
    """Invalid when an element is to end before it begins."""
    if element["expiresAt"] <= at:
        raise Invalid("expiresAt is in the past", field="expiresAt", rule="an instant in the future")


def earliest(doc: Doc) -> Instant | None:
    """When the next part of the entity ends, or the entity itself; None when nothing does."""
    ends = [doc["expiresAt"]] if "expiresAt" in doc else []
    return min([*ends, *_ends(doc["attrs"].values())], default=None)


def _ends(listed: Iterable[Sequence[Instance]]) -> Iterator[Instant]:
    for instances in listed:
        for one in instances:
            if "expiresAt" in one:
                yield one["expiresAt"]
            if "attrs" in one:
                yield from _ends(one["attrs"].values())


def ended(element: Doc | Instance, at: Instant) -> bool:
    """Whether the element itself has ended."""
    return "expiresAt" in element and element["expiresAt"] <= at


def left(instance: Instance, at: Instant) -> Instance:
    """The instance without those of its attributes that have ended; itself when none has."""
    subs = instance.get("attrs")
    if not subs:
        return instance
    kept = {iri: [left(one, at) for one in instances if not ended(one, at)] for iri, instances in subs.items()}
    kept = {iri: instances for iri, instances in kept.items() if instances}
    if kept == subs:
        return instance
    return {**instance, "attrs": kept} if kept else {key: value for key, value in instance.items() if key != "attrs"}
