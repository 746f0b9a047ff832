"""What a change set, as JSON text: each instance is made text once; document, history and journal share it.

For: the hot path of every write. A whole new entity is told as it is read (`read_whole`), before its turn in the
store's writer: a thousand waiting texts are quick to come back to, a thousand waiting documents of dictionaries are
not, and a number with its unit and instant goes from the caller's JSON to ours without becoming a dictionary at all.
Promises: `Told.attrs` is the JSON object {IRI: [instance]} of exactly the instances that were set; `read_whole` reads
what model/entity reads and refuses what it refuses, and its wish leaves what the same wish without it leaves.
Does not: know rows; decide what a change means (model/change does).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from shahar.model import expiry
from shahar.model.change import Change, Kind
from shahar.model.context import Context
from shahar.model.entity import CREATE, Doc, Instance, members, parse_entity, parse_instances, parse_shell, plain
from shahar.values.instants import Instant

Line = tuple[str, str | None, Instant | None, str]
"""One instance: attribute IRI, datasetId, observedAt, its text."""

_STAMPS: Final = frozenset({"createdAt", "modifiedAt"})


@dataclass(slots=True)
class Told:
    """The instances that a change set, in order, and {IRI: [instance]} of them as one text; `multi`: an attribute has
    several.
    """

    lines: list[Line]
    attrs: str
    multi: bool


@dataclass(slots=True)
class Whole:
    """The wish to create a whole entity, or to replace one by it, told already: `shell` is its document without
    attributes, as it is when nothing is there before it at `at`.
    """

    kind: Kind
    id: str
    shell: Doc
    told: Told
    at: Instant

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types that the wish names."""
        return tuple(self.shell["type"])

    def untold(self) -> Change:
        """The same wish with its fragment, for the rare case that it has to be thought again."""
        fragment = {key: value for key, value in self.shell.items() if key not in _STAMPS}
        return Change(self.kind, self.id, fragment | {"attrs": orjson.loads(self.told.attrs)})


Wish = Change | Whole


def tell(put: Iterable[tuple[str, Instance]]) -> Told:
    """The texts of instances that were set."""
    lines: list[Line] = []
    for iri, instance in put:
        lines.append(_line(iri, instance))
    return _joined(lines)


def read_whole(kind: Kind, body: Any, context: Context, at: Instant) -> Wish:
    """The wish to `create` or to `upsert` the entity that a body tells, at instant `at`. Raises what parse_entity
    raises.
    """
    shell = parse_shell(body, context)
    if not shell.get("type"):  # allowed of an upsert that replaces: the entity keeps its types
        return Change(kind, shell["id"], parse_entity(body, context))
    if not shell.get("scope", True):
        del shell["scope"]
    if "expiresAt" in shell:
        expiry.check(shell, at)
    shell["createdAt"] = shell["modifiedAt"] = at
    stamps = f',"createdAt":{at},"modifiedAt":{at}}}'
    lines: list[Line] = []
    for name, iri, given in members(body, context):
        parts = plain(name, given)
        if parts is not None:
            lines.append(_plain_line(iri, *parts, stamps))
            continue
        for instance in parse_instances(name, given, context, CREATE):
            if "expiresAt" in instance:
                expiry.check(instance, at)
            instance["createdAt"] = instance["modifiedAt"] = at
            lines.append(_line(iri, instance))
    return Whole(kind, shell["id"], shell, _joined(lines), at)


def _plain_line(iri: str, value: float, unit: str | None, observed: Instant | None, stamps: str) -> Line:
    number = orjson.dumps(value).decode()
    code = "" if unit is None else f',"unitCode":"{unit}"'
    moment = "" if observed is None else f',"observedAt":{observed}'
    return iri, None, observed, f'{{"type":"Property","value":{number}{code}{moment}{stamps}'


def _line(iri: str, instance: Instance) -> Line:
    return iri, instance.get("datasetId"), instance.get("observedAt"), orjson.dumps(instance).decode()


def _joined(lines: list[Line]) -> Told:
    grouped: dict[str, str] = {}
    for iri, _, _, text in lines:
        grouped[iri] = f"{grouped[iri]},{text}" if iri in grouped else text
    attrs = ",".join([f"{_quoted(iri)}:[{text}]" for iri, text in grouped.items()])
    return Told(lines, f"{{{attrs}}}", len(grouped) < len(lines))


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
