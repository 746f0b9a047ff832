"""An instance of history as the columns of a table that strangers read, and back, to the letter.

What every instance has (value, unit, instants) becomes columns; the rest of its document stays as text in which those
members are null, so that a whole series shares a few texts and a file needs hardly a byte for them.
Promises: `unfold` of what `fold` gave is the same document, member for member and in the same order, whatever stood in
it; where the columns cannot hold a value exactly, the document keeps it.
Does not: read or write files (store/lake).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from shahar.model.entity import Instance
from shahar.model.figures import ARRAY, NUMBER, OTHER, TEXT, TIME, counted, measured
from shahar.values.instants import Instant

KINDS: Final = ("entered", "observed", "deleted")
"""What the instant of an instance is, by the number of its kind in history."""
CLASSES: Final = ("number", "boolean", "list", "text", "time", "other")
"""What kind of value an instance has, as model/figures numbers them."""


class Columns(NamedTuple):
    """One instance. `value`: the number that it counts as (a boolean 0 or 1, a list its length, a time of day its
    seconds); `whole`: whether that was told as a whole number; `text`: a value that is no number, lists and objects as
    JSON; `created`: None when it was entered when it was modified; `document`: JSON with null where a column has it.
    """

    kind: str
    sort: str
    value: float | None
    whole: bool | None
    text: str | None
    unit: str | None
    modified: Instant
    created: Instant | None
    document: str


def fold(told: str, at: Instant, kind: int, modified: Instant) -> Columns:
    """The columns of the instance whose document is the text `told`; it stands at `at` in history."""
    one: Instance = orjson.loads(told)
    sort, value = (OTHER, None) if KINDS[kind] == "deleted" else measured(one)
    number = counted(sort, value)
    text = None if sort < ARRAY or value is None else value if isinstance(value, str) else _dumped(value)
    unit, created = one.get("unitCode"), one.get("createdAt")
    holes = {"observedAt": at, "modifiedAt": modified, "createdAt": created, "unitCode": unit}
    if _held(sort, one.get("value"), number, text):
        holes["value"] = one["value"]
    rest = {key: None if holes.get(key) is not None and holes[key] == each else each for key, each in one.items()}
    found = Columns(
        KINDS[kind],
        CLASSES[sort],
        None if number is None else float(number),
        isinstance(number, int) if sort == NUMBER else None,
        text,
        unit if isinstance(unit, str) else None,
        modified,
        None if created == modified else created,
        _dumped(rest),
    )
    if text_of(found, at) == told:
        return found
    return found._replace(document=_dumped(told))


def unfold(given: Columns, at: Instant) -> Instance:
    """The document of the instance that stands at `at`."""
    one: Any = orjson.loads(given.document)
    if isinstance(one, str):
        one = orjson.loads(one)
        return dict(one)
    for key, each in one.items():
        if each is None:
            one[key] = _FILL[key](given, at) if key in _FILL else None
    return dict(one)


def text_of(given: Columns, at: Instant) -> str:
    """The text that was folded."""
    if given.document.startswith('"'):
        return str(orjson.loads(given.document))
    return _dumped(unfold(given, at))


def type_of(document: str) -> str:
    """The type of the attribute whose instance has this document."""
    one: Any = orjson.loads(document)
    return str((orjson.loads(one) if isinstance(one, str) else one)["type"])


def _held(sort: int, value: Any, number: Any, text: str | None) -> bool:
    """Whether the columns give back this value of an instance exactly."""
    if sort == NUMBER:
        return bool(float(number) == number)
    if sort in {TEXT, TIME}:
        return isinstance(value, str)
    return sort in {ARRAY, OTHER} and isinstance(value, (list, dict)) and _dumped(value) == text


def _value(given: Columns, _at: Instant) -> Any:
    if given.sort == "number" and given.value is not None:
        return int(given.value) if given.whole else given.value
    if given.text is None or given.sort in {"text", "time"}:
        return given.text
    return orjson.loads(given.text)


_FILL: Final[dict[str, Callable[[Columns, Instant], Any]]] = {
    "value": _value,
    "unitCode": lambda given, _at: given.unit,
    "observedAt": lambda _given, at: at,
    "modifiedAt": lambda given, _at: given.modified,
    "createdAt": lambda given, _at: given.modified if given.created is None else given.created,
}


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()
