"""The text of a question -> its tree. What is no question raises Invalid with the field's name, and nothing else does.

Promises: time and memory are bounded: 4 096 characters, 64 terms, depth 16 (parentheses and followed relationships
together). The text comes already percent-decoded. Blanks between the parts are allowed.
Source: ETSI GS CIM 009 V1.9.1: q 4.9, geo 4.10, type selection 4.17 and the "*" of 5.2.33, scope 4.19.
Departures, all of them towards accepting more:
- parentheses may stand within parentheses (example 6 of 4.9 does it, its grammar does not); types and scopes are read
  likewise, so that `;` needs no parentheses there;
- a word without quotes where a value is wanted is a text (example 12 of 4.9 does it, its grammar does not);
- a name may have a prefix (4.6.2); within braces what stands before the first colon is a type, as the grammar says;
- a regular expression may stand in quotes or not; without them it ends at `;`, `|` or `)` outside of its own
  brackets;
- a name in square brackets may hold a hyphen, since language tags do. jsonKeys has nothing to say here: values are
  stored as they came and never expanded, so that names in square brackets are compared as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from typing import Final, NoReturn

from shahar.model.query.moments import moment
from shahar.model.query.patterns import Pattern
from shahar.model.query.tree import (
    IRI,
    LOCATION,
    And,
    AnyOf,
    Compare,
    Exists,
    Geo,
    GeoRel,
    Linked,
    Node,
    Op,
    Or,
    Path,
    Range,
    Scalar,
    ScopeIs,
    TypeIs,
    Value,
    When,
)
from shahar.values import places
from shahar.values.bounds import QUERY_CHARS, QUERY_LEVELS, QUERY_TERMS
from shahar.values.errors import Invalid

MAX_COORDINATES_LENGTH: Final = 1_000_000

Expand = Callable[[str], IRI]

_WORD: Final = r"[^\W\d_]\w*"
_NAME: Final = re.compile(rf"{_WORD}(?::{_WORD})?")
_TYPES: Final = re.compile(rf"({_WORD}(?:,{_WORD})*):(?={_WORD})")
_KEY: Final = re.compile(r"\*|[\w@:-]+")
_OPS: Final[tuple[Op, ...]] = ("!~=", "~=", "==", "!=", ">=", "<=", ">", "<")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BARE: Final = re.compile(r'[^\s;|,()"<>{}]+')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TYPE: Final = re.compile(r"[^\s;|,()]+")
_TYPE_SHAPE: Final = re.compile(rf'{_WORD}(?::{_WORD})?|[A-Za-z][A-Za-z0-9+.-]*:[^\s"<>{{}}\\^`]+')
_LEVEL: Final = rf"(?:\+|{_WORD})"
_SCOPE: Final = re.compile(rf"/?({_LEVEL}(?:/{_LEVEL})*)(/#)?(?![\w/#+])|(/#)(?![\w/#+])")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_NEAR: Final = re.compile(r"near;(maxDistance|minDistance)==(\d.*)", re.ASCII)
_PLAIN_RELATIONS: Final[tuple[GeoRel, ...]] = ("within", "contains", "overlaps", "intersects", "equals", "disjoint")


class _Reader:
    """A text being read from left to right, and the bounds on it."""

    def __init__(self, text: str, field: str) -> None:
        self.text, self.field, self.at, self.terms = text, field, 0, 0
        if not isinstance(text, str):
            raise Invalid(f"{field} is not a text", field=field, rule="a string")
        if not text.strip():
            raise Invalid(f"{field} is empty", field=field, rule="at least one term")
        if len(text) > QUERY_CHARS:
            raise Invalid(f"{field} is too long", field=field, rule=f"at most {QUERY_CHARS} characters")
        if _UNSTORABLE.search(text):
            raise Invalid(f"{field} holds characters that no text has", field=field, rule="no NUL, no lone surrogates")

    def fail(self, wanted: str, at: int | None = None) -> NoReturn:
        """Say what was wanted `at` a place, or where the reader stands."""
        at = self.at if at is None else at
        found = repr(self.text[at : at + 20]) if at < len(self.text) else "the end"
        raise Invalid(f"At character {at + 1} stands {found} instead of {wanted}", field=self.field, rule=wanted)

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def skip(self, *wanted: str) -> bool:
        self.blanks()
        for each in wanted:
            if self.text.startswith(each, self.at):
                self.at += len(each)
                return True
        return False

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.blanks()
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def term(self) -> None:
        self.terms += 1
        if self.terms > QUERY_TERMS:
            raise Invalid(f"{self.field} has too many terms", field=self.field, rule=f"at most {QUERY_TERMS} terms")

    def deeper(self, depth: int) -> int:
        if depth >= QUERY_LEVELS:
            raise Invalid(f"{self.field} is nested too deep", field=self.field, rule=f"at most {QUERY_LEVELS} levels")
        return depth + 1


_Leaf = Callable[[int], Node]


def _boolean(reader: _Reader, leaf: _Leaf, ors: tuple[str, ...]) -> Node:
    """Terms joined by `;` and by one of `ors`, `;` binding closer, with parentheses; up to the end of the text."""
    found = _or(reader, leaf, ors, 0)
    reader.blanks()
    if reader.at < len(reader.text):
        reader.fail("an operator or the end")
    return found


def _or(reader: _Reader, leaf: _Leaf, ors: tuple[str, ...], depth: int) -> Node:
    parts = [_and(reader, leaf, ors, depth)]
    while reader.skip(*ors):
        parts.append(_and(reader, leaf, ors, depth))
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _and(reader: _Reader, leaf: _Leaf, ors: tuple[str, ...], depth: int) -> Node:
    parts = [_part(reader, leaf, ors, depth)]
    while reader.skip(";"):
        parts.append(_part(reader, leaf, ors, depth))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _part(reader: _Reader, leaf: _Leaf, ors: tuple[str, ...], depth: int) -> Node:
    if reader.skip("("):
        found = _or(reader, leaf, ors, reader.deeper(depth))
        if not reader.skip(")"):
            reader.fail("a closing parenthesis")
        return found
    reader.term()
    return leaf(depth)


def parse_q(text: str, expand: Expand, *, expand_values: Collection[str] = (), field: str = "q") -> Node:
    """The tree of a q (4.9). `expand` maps a short name to its IRI; `expand_values` are the names in expandValues.

    `field` names the parameter in what is raised: csf is read by the same grammar.
    """
    reader = _Reader(text, field)
    terms = _Terms(reader, expand, frozenset(expand(name) for name in expand_values))
    return _boolean(reader, terms.term, ("|",))


class _Terms:
    """What reads one term of a q."""

    def __init__(self, reader: _Reader, expand: Expand, expanding: frozenset[IRI]) -> None:
        self.reader, self.expand, self.expanding = reader, expand, expanding

    def term(self, depth: int) -> Node:
        attr = self.expand(self.name())
        if self.reader.skip("{"):
            return self.linked(attr, self.reader.deeper(depth))
        return self.plain(self.path(attr))

    def linked(self, attr: IRI, depth: int) -> Node:
        """What follows an opening brace. The operator stands after the closing braces: `a{b{c}}==1`."""
        hops = [(attr, self.types())]
        inner = self.expand(self.name())
        while self.reader.skip("{"):
            depth = self.reader.deeper(depth)
            hops.append((inner, self.types()))
            inner = self.expand(self.name())
        path = self.path(inner)
        for _ in hops:
            if not self.reader.skip("}"):
                self.reader.fail("a closing brace")
        found = self.plain(path)
        for hop, types in reversed(hops):
            found = Linked(hop, types, found)
        return found

    def types(self) -> tuple[IRI, ...]:
        found = self.reader.take(_TYPES)
        return tuple(self.expand(name) for name in found.group(1).split(",")) if found else ()

    def name(self) -> str:
        found = self.reader.take(_NAME)
        if not found:
            self.reader.fail("the name of an attribute")
        return found.group()

    def path(self, attr: IRI) -> Path:
        subs = []
        while self.reader.skip("."):
            subs.append(self.expand(self.name()))
        keys = []
        if self.reader.skip("["):
            keys.append(self.key())
            while self.reader.skip("."):
                keys.append(self.key())
            if not self.reader.skip("]"):
                self.reader.fail("a closing bracket")
        return Path(attr, tuple(subs), tuple(keys))

    def key(self) -> str:
        found = self.reader.take(_KEY)
        if not found:
            self.reader.fail("the name of a member or a language")
        return found.group()

    def plain(self, path: Path) -> Node:
        op = next((op for op in _OPS if self.reader.skip(op)), None)
        if op is None:
            return Exists(path)
        value = self.value(op)
        target = path.subs[-1] if path.subs else path.attr
        expanded = self.expanded(value) if target in self.expanding else None
        return Compare(path, op, value, expanded)

    def expanded(self, value: Value) -> Value:
        match value:
            case str():
                return self.expand(value)
            case AnyOf(values):
                return AnyOf(tuple(self.expand(each) if isinstance(each, str) else each for each in values))
        return value

    def value(self, op: Op) -> Value:
        match op:
            case "~=" | "!~=":
                return Pattern(_pattern_text(self.reader), self.reader.field)
            case "==" | "!=":
                return _equality_value(self.reader)
        self.reader.blanks()
        start = self.reader.at
        found = _one(self.reader)
        bare_text = isinstance(found, str) and self.reader.text[start] != '"'
        if isinstance(found, bool | Range) or bare_text:
            self.reader.fail(f"one number, text in quotes or moment for {op}", start)
        return found


def _pattern_text(reader: _Reader) -> str:
    """A regular expression, in quotes (as a JSON string, or as it stands when it is none) or bare."""
    quoted = reader.take(_QUOTED)
    if not quoted:
        return _bare_pattern(reader)
    try:
        found = json.loads(quoted.group())
    except ValueError:
        found = quoted.group()[1:-1].replace('\\"', '"')
    if _UNSTORABLE.search(found):
        reader.fail("a pattern without NUL and lone surrogates")
    return str(found)


def _bare_pattern(reader: _Reader) -> str:
    start, depth, bracket = reader.at, 0, False
    while reader.at < len(reader.text):
        char = reader.text[reader.at]
        if char == "\\":
            reader.at += 1
        elif bracket:
            bracket = char != "]"
        elif char == "[":
            bracket = True
        elif depth == 0 and char in ";|)":
            break
        else:
            depth += (char == "(") - (char == ")")
        reader.at += 1
    return reader.text[start : reader.at].strip()


def _equality_value(reader: _Reader) -> Value:
    first = _one(reader)
    if isinstance(first, Range):
        return first
    values = [first]
    while reader.skip(","):
        further = _one(reader)
        if isinstance(further, Range):
            reader.fail("a list of single values")
        values.append(further)
    return values[0] if len(values) == 1 else AnyOf(tuple(values))


def _one(reader: _Reader) -> Scalar | Range:
    """A value, or two of them with two dots between."""
    quoted = reader.take(_QUOTED)
    if quoted:
        low = _text(reader, quoted.group())
        if not reader.skip(".."):
            return low
        quoted = reader.take(_QUOTED)
        if not quoted:
            reader.fail("a text in quotes as the end of the range")
        return _range(reader, low, _text(reader, quoted.group()))
    bare = reader.take(_BARE)
    if not bare:
        reader.fail("a value")
    return _bare_value(reader, bare.group())


def _text(reader: _Reader, quoted: str) -> str | When:
    try:
        found = json.loads(quoted)
    except ValueError:
        reader.fail("a JSON string")
    if _UNSTORABLE.search(found):
        reader.fail("a text without NUL and lone surrogates")
    known = moment(found)
    return When(*known, text=found) if known else str(found)


def _bare_value(reader: _Reader, bare: str) -> Scalar | Range:
    if bare in ("true", "false"):
        return bare == "true"
    found = _comparable(reader, bare)
    if found is not None:
        return found
    low, dots, high = bare.partition("..")
    first = _comparable(reader, low) if dots else None
    if first is not None:
        last = _comparable(reader, high)
        if last is None:
            reader.fail("a number or a moment as the end of the range")
        return _range(reader, first, last)
    if not bare[0].isalpha():
        reader.fail("a number, a text in quotes, a moment, true, false or a URI", reader.at - len(bare))
    return bare


def _comparable(reader: _Reader, bare: str) -> int | float | When | None:
    number = _NUMBER.fullmatch(bare)
    if not number:
        known = moment(bare)
        return When(*known) if known else None
    found = float(bare)
    if not math.isfinite(found):
        reader.fail("a finite number", reader.at - len(bare))
    return int(bare) if not any(number.groups()) and abs(found) < 2**63 else found


def _range(reader: _Reader, low: Scalar, high: Scalar) -> Range:
    if isinstance(low, When) and isinstance(high, When) and low.kind == high.kind:
        return Range(low, high)
    # A text that happens to read as a moment is a text beside one that does not.
    low = low.text if isinstance(low, When) and low.text is not None else low
    high = high.text if isinstance(high, When) and high.text is not None else high
    if isinstance(low, When) or isinstance(high, When) or isinstance(low, str) != isinstance(high, str):
        reader.fail("two ends of one kind in the range")
    return Range(low, high)


def parse_types(text: str, expand: Expand, *, field: str = "type") -> Node | None:
    """The tree of a type selection (4.17), of TypeIs, And, Or; None for "*", which asks for every type (5.2.33)."""
    reader = _Reader(text, field)
    if text.strip() == "*":
        return None

    def leaf(_: int) -> Node:
        found = reader.take(_TYPE)
        if not found or not _TYPE_SHAPE.fullmatch(found.group()):
            reader.fail("the name or URI of an entity type", found.start() if found else None)
        return TypeIs(expand(found.group()))

    return _boolean(reader, leaf, ("|", ","))


def parse_scope(text: str, *, field: str = "scopeQ") -> Node:
    """The tree of a scope query (4.19), of ScopeIs, And, Or; a scope may lack its first slash (example 5)."""
    reader = _Reader(text, field)

    def leaf(_: int) -> Node:
        found = reader.take(_SCOPE)
        if not found:
            reader.fail("a scope such as /city/+/park or /city/#")
        levels = tuple(found.group(1).split("/")) if found.group(1) else ()
        return ScopeIs(levels, below=bool(found.group(2) or found.group(3)))

    return _boolean(reader, leaf, ("|", ","))


def parse_id_pattern(text: str, *, field: str = "idPattern") -> Pattern:
    """The pattern of an idPattern (5.2.33); found anywhere in the id unless anchored."""
    if not isinstance(text, str):
        raise Invalid(f"{field} is not a text", field=field, rule="a string")
    if _UNSTORABLE.search(text):
        raise Invalid(f"{field} holds characters that no text has", field=field, rule="no NUL, no lone surrogates")
    return Pattern(text, field)


def parse_geo(georel: object, geometry: object, coordinates: object, geoproperty: IRI = LOCATION) -> Geo:
    """The geo query (4.10) of its four parameters; coordinates in degrees, as JSON text or read already; metres.

    A polygon that crosses itself is accepted. What is raised names georel, geometry or coordinates.
    """
    rel, min_m, max_m = _relation(georel)
    if not isinstance(geometry, str) or geometry not in places.GEOMETRY_TYPES:
        raise Invalid(
            f"{geometry!r:.60} is not a geometry type",
            field="geometry",
            rule="one of " + ", ".join(places.GEOMETRY_TYPES),
        )
    value = places.geometry({"type": geometry, "coordinates": _coordinates(coordinates)}, "coordinates")
    shape = places.shape(value)
    if geometry != "Point":
        _prepare(shape)
    box = None
    if rel != "disjoint" and min_m is None:
        box = places.bbox(value) if max_m is None else places.widen(places.bbox(value), max_m)
    return Geo(rel, shape, geoproperty, min_m, max_m, box)


def _prepare(shape: object) -> None:
    import shapely

    shapely.prepare(shape)


def _coordinates(coordinates: object) -> object:
    if not isinstance(coordinates, str):
        return coordinates
    if len(coordinates) > MAX_COORDINATES_LENGTH:
        raise Invalid(
            "The coordinates are too long", field="coordinates", rule=f"at most {MAX_COORDINATES_LENGTH} characters"
        )
    try:
        return json.loads(coordinates)
    except (ValueError, RecursionError):
        raise Invalid("The coordinates are not JSON", field="coordinates", rule="a JSON array") from None


def _relation(georel: object) -> tuple[GeoRel, float | None, float | None]:
    """The relation, and the least or the greatest metres of "near"."""
    if not isinstance(georel, str):
        raise Invalid("georel is missing", field="georel", rule="one relation of clause 4.10")
    plain = next((each for each in _PLAIN_RELATIONS if each == georel), None)
    if plain is not None:
        return plain, None, None
    near = _NEAR.fullmatch(georel)
    if not near or not _NUMBER.fullmatch(near.group(2)):
        rule = "near;maxDistance==METRES, near;minDistance==METRES, " + ", ".join(_PLAIN_RELATIONS)
        raise Invalid(f"{georel!r:.60} is not a geographical relation", field="georel", rule=rule)
    distance = float(near.group(2))
    if not 0 < distance < math.inf:
        raise Invalid(
            "The distance is not a positive number of metres", field="georel", rule="a positive finite number"
        )
    return ("near", None, distance) if near.group(1) == "maxDistance" else ("near", distance, None)
