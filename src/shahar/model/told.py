"""What a change set, as JSON text: each instance is made text once; document, history and journal share it.

For: the hot path of every write. A whole new entity is told as it is read (`read_whole`), before its turn in the
store's writer: a thousand waiting texts are quick to come back to, a thousand waiting documents of dictionaries are
not, and a number with its unit and instant goes from the caller's JSON to ours without becoming a dictionary at all.
Promises: `Told.attrs` is the JSON object {IRI: [instance]} of exactly the instances that were set; `read_whole` reads
what model/entity reads and refuses what it refuses, and its wish leaves what the same wish without it leaves. What can
be said of an entity without knowing what was there before is said as it is read: the writer has but to number it.
Does not: know rows; decide what a change means (model/change does).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from shahar.model import aliases, expiry, shape
from shahar.model.change import Change, Kind
from shahar.model.context import Context
from shahar.model.entity import CREATE, Doc, Instance, members, parse_entity, parse_instances, parse_shell, plain
from shahar.values.instants import Instant

Line = tuple[str, str | None, Instant | None, str]
"""One instance: attribute IRI, datasetId, observedAt, its text."""

_STAMPS: Final = frozenset({"createdAt", "modifiedAt"})
_ATTRS: Final = ',"attrs":{'
"""Where a document's attributes begin: within a text its quotation marks would be escaped."""


@dataclass(slots=True)
class Told:
    """The instances that a change set, in order, and {IRI: [instance]} of them as one text."""

    lines: list[Line]
    attrs: str


@dataclass(slots=True)
class Whole:
    """The wish to create a whole entity, or to replace one by it, told already as what it is when nothing is there
    before it at `at`.

    `shell`: the document without attributes. `lines`: the instances. `multi`: an attribute has several. `text`: the
    whole document. `shape`: model/shape. `plain`: it has no scope and no end, and each attribute is one number, with
    its unit and instant at the most.
    """

    kind: Kind
    id: str
    shell: Doc
    lines: list[Line]
    multi: bool
    text: str
    shape: str
    plain: bool
    at: Instant

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types that the wish names."""
        return tuple(self.shell["type"])

    @property
    def attrs(self) -> str:
        """{IRI: [instance]} as one text."""
        return self.text[self.text.index(_ATTRS) + len(_ATTRS) - 1 : -1]

    @property
    def what(self) -> str:
        """The journal's account of it."""
        return account(self.attrs, {"types": self.shell["type"]})

    def dressed(self, shell: Doc) -> str:
        """The text of the whole document with another shell."""
        return orjson.dumps(shell).decode()[:-1] + self.text[self.text.index(_ATTRS) :]

    def untold(self) -> Change:
        """The same wish with its fragment, for the rare case that it has to be thought again."""
        fragment = {key: value for key, value in self.shell.items() if key not in _STAMPS}
        return Change(self.kind, self.id, fragment | {"attrs": orjson.loads(self.attrs)})


Wish = Change | Whole


def tell(put: Iterable[tuple[str, Instance]]) -> Told:
    """The texts of instances that were set."""
    lines = [_line(iri, instance) for iri, instance in put]
    return Told(lines, _joined(lines)[0])


def account(attrs: str, rest: Mapping[str, Any]) -> str:
    """The journal's account of a change: {"set": {IRI: [instance]}} and what there is to tell besides."""
    return f'{{"set":{attrs},{orjson.dumps(rest).decode()[1:]}'


def read_whole(kind: Kind, body: Any, context: Context, at: Instant) -> Wish:
    """The wish to `create` or to `upsert` the entity that a body tells, at instant `at`. Raises what parse_entity
    raises.
    """
    inner = context
    if not context.plain:
        body, inner = aliases.opened(body, context)
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
    kinds: list[str] = []
    simple = "scope" not in shell and "expiresAt" not in shell
    for name, iri, given in members(body, inner):
        parts = plain(name, given)
        if parts is not None:
            lines.append(_plain_line(iri, *parts, stamps))
            kinds.append("Property")
            continue
        simple = False
        for instance in parse_instances(name, given, inner, CREATE):
            if "expiresAt" in instance:
                expiry.check(instance, at)
            instance["createdAt"] = instance["modifiedAt"] = at
            lines.append(_line(iri, instance))
            kinds.append(instance["type"])
    return _whole(kind, shell, lines, kinds, at, simple)


def _whole(kind: Kind, shell: Doc, lines: list[Line], kinds: list[str], at: Instant, simple: bool) -> Whole:
    attrs, multi = _joined(lines)
    types = shell["type"]
    text = f"{orjson.dumps(shell).decode()[:-1]}{_ATTRS}{attrs[1:]}}}"
    form = shape.of(tuple(types), tuple([line[0] for line in lines]), tuple(kinds))
    return Whole(kind, shell["id"], shell, lines, multi, text, form, simple and not multi, at)


def _plain_line(iri: str, value: float, unit: str | None, observed: Instant | None, stamps: str) -> Line:
    number = orjson.dumps(value).decode()
    code = "" if unit is None else f',"unitCode":"{unit}"'
    moment = "" if observed is None else f',"observedAt":{observed}'
    return iri, None, observed, f'{{"type":"Property","value":{number}{code}{moment}{stamps}'


def _line(iri: str, instance: Instance) -> Line:
    return iri, instance.get("datasetId"), instance.get("observedAt"), orjson.dumps(instance).decode()


def _joined(lines: list[Line]) -> tuple[str, bool]:
    """{IRI: [instance]} as one text, and whether an attribute has several instances."""
    grouped: dict[str, str] = {}
    for iri, _, _, text in lines:
        grouped[iri] = f"{grouped[iri]},{text}" if iri in grouped else text
    attrs = ",".join([f"{_quoted(iri)}:[{text}]" for iri, text in grouped.items()])
    return f"{{{attrs}}}", len(grouped) < len(lines)


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
