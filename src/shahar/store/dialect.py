"""The whole difference between the engines, as one frozen record of few acts for each. SQLite is here; PostgreSQL comes
with its issue.

Refuses: flags that leak an `if` into callers; the engine's name anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine says what SQL leaves open. `attribute(iri)` is the value of an attribute's first instance in column
    e.doc; `listed(name)` is the set of values in the list parameter `name`, given as a JSON text, and `rows(name)` a
    table of them with columns `key` (from 0) and `value`; `member(json, path)` is a member of a JSON text ("$.a[0]"),
    `kind(json, path)` its kind (integer, real, true, false, text, array, object), `length(json)` how long an array is.
    """

    attribute: Callable[[str], str]
    listed: Callable[[str], str]
    rows: Callable[[str], str]
    member: Callable[[str, str], str]
    kind: Callable[[str, str], str]
    length: Callable[[str], str]


def _attribute(iri: str) -> str:
    if not set("\"'\\").isdisjoint(iri):
        raise ValueError(f"a quote in an attribute name: {iri!r}")
    start = f'$.attrs."{iri}"[0]'
    return "coalesce(" + ", ".join(f"json_extract(doc, '{start}.{member}')" for member in _MEMBERS) + ")"


_MEMBERS: Final = ("value", "object", "vocab", "json", "languageMap", "valueList", "objectList")

SQLITE: Final = Dialect(
    attribute=_attribute,
    listed=lambda name: f"(SELECT value FROM json_each(:{name}))",
    rows=lambda name: f"json_each(:{name})",
    member=lambda json, path: f"json_extract({json}, '{path}')",
    kind=lambda json, path: f"json_type({json}, '{path}')",
    length=lambda json: f"json_array_length({json})",
)
