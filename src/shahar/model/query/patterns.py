"""Regular expressions of strangers, matched in time that grows with the text and nothing else.

Python's `re` backtracks: a pattern of a dozen characters from the open network can hold a processor for hours. Here a
pattern becomes an automaton of at most 512 states (Thompson 1968), and the sets of states that are met are remembered
as they are met, so that one character of text is mostly one look into a dict.

Promises: `Pattern.matches` never backtracks; memory for remembered sets is bounded; the same pattern is equal to
itself and hashable.
Carries: extended regular expressions of POSIX (IEEE 1003.2): characters, `.`, `[...]` with `[:alpha:]` classes, `^`,
`$`, `()`, `|`, `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`; besides, since people write them: `\\d \\w \\s \\D \\W \\S \\t
\\n \\r`, `(?:...)`, `*?` (the same answer as `*`) and a leading `(?i)`.
Refuses, by Invalid: what needs a memory or a look aside (back references, `(?=...)`, `\\b`), more than 256
characters, depth above 16.
Departure: within brackets a backslash escapes, as in every language of today; POSIX takes it for itself there.
A pattern is found anywhere in the text unless it is anchored, as by the tools of IEEE 1003.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from shahar.values.bounds import PATTERN_CHARS
from shahar.values.errors import Invalid

MAX_LENGTH: Final = PATTERN_CHARS
MAX_DEPTH: Final = 16
MAX_STATES: Final = 512
MAX_REPEAT: Final = 255
_MAX_REMEMBERED: Final = 4096

_Test = Callable[[str], bool]


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _is_punctuation(char: str) -> bool:
    return "!" <= char <= "~" and not char.isalnum()


_ESCAPED_CLASSES: Final[dict[str, _Test]] = {"d": str.isdecimal, "w": _is_word, "s": str.isspace}
_ESCAPED_CHARACTERS: Final = {"t": "\t", "n": "\n", "r": "\r"}
_POSIX_CLASSES: Final[dict[str, _Test]] = {
    "alpha": str.isalpha,
    "digit": str.isdecimal,
    "alnum": str.isalnum,
    "upper": str.isupper,
    "lower": str.islower,
    "space": str.isspace,
    "blank": " \t".__contains__,
    "punct": _is_punctuation,
    "print": str.isprintable,
    "graph": lambda char: char.isprintable() and char != " ",
    "cntrl": lambda char: char < " " or char == "\x7f",
    "xdigit": "0123456789abcdefABCDEF".__contains__,
}
_COUNT: Final = re.compile(r"\{(\d{0,3})(?:(,)(\d{0,3}))?\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Chars:
    """A set of characters."""

    singles: frozenset[str] = frozenset()
    spans: tuple[tuple[str, str], ...] = ()
    tests: tuple[_Test, ...] = ()
    negated: bool = False
    any_case: bool = False

    def has(self, char: str) -> bool:
        found = self._holds(char)
        if self.any_case and not found:
            found = self._holds(char.lower()) or self._holds(char.upper())
        return found != self.negated

    def _holds(self, char: str) -> bool:
        return (
            char in self.singles or any(a <= char <= b for a, b in self.spans) or any(test(char) for test in self.tests)
        )


@dataclass(frozen=True, slots=True)
class _Edge:
    """The start (`^`) or the end (`$`) of the text."""

    start: bool


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Tree
    least: int
    most: int | None


_Tree = _Chars | _Edge | _Sequence | _Choice | _Repeat
_ANY: Final = _Chars(negated=True)


class _Reader:
    """One pattern being read, from left to right."""

    def __init__(self, text: str, field: str | None) -> None:
        self.text, self.at, self.field = text, 0, field
        self.any_case = text.startswith("(?i)")
        if self.any_case:
            self.at = 4

    def fail(self, why: str) -> NoReturn:
        raise Invalid(
            f"The pattern cannot be read at character {self.at + 1}: {why}",
            field=self.field,
            rule="regular expression (IEEE 1003.2)",
        )

    def next(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def skip(self, wanted: str) -> bool:
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def whole(self) -> _Tree:
        found = self.choice(0)
        if self.next():
            self.fail("a parenthesis closes what none opened")
        return found

    def choice(self, depth: int) -> _Tree:
        if depth > MAX_DEPTH:
            self.fail(f"parentheses are nested deeper than {MAX_DEPTH}")
        parts = [self.sequence(depth)]
        while self.skip("|"):
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def sequence(self, depth: int) -> _Tree:
        parts: list[_Tree] = []
        while self.next() not in ("", "|", ")"):
            part = self.atom(depth)
            parts.append(self.repeated(part))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def repeated(self, part: _Tree) -> _Tree:
        count = self.count()
        if count is None:
            return part
        if isinstance(part, _Edge):
            self.fail("there is nothing to repeat")
        self.skip("?")
        if self.next() in ("*", "+", "?") or self.count() is not None:
            self.fail("a repetition is repeated")
        return _Repeat(part, *count)

    def count(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self.next()
        if char in simple:
            self.at += 1
            return simple[char]
        found = _COUNT.match(self.text, self.at)
        if not found or (not found.group(1) and not found.group(3)):
            return None
        least = int(found.group(1) or 0)
        most = least if found.group(2) is None else int(found.group(3)) if found.group(3) else None
        if least > MAX_REPEAT or (most is not None and not least <= most <= MAX_REPEAT):
            self.fail(f"a count goes from 0 to {MAX_REPEAT}, the smaller first")
        self.at = found.end()
        return least, most

    def atom(self, depth: int) -> _Tree:
        char = self.next()
        if char in ("*", "+", "?"):
            self.fail("there is nothing to repeat")
        self.at += 1
        match char:
            case "(":
                return self.group(depth)
            case "[":
                return self.bracket()
            case ".":
                return _ANY
            case "^" | "$":
                return _Edge(start=char == "^")
            case "\\":
                return self.escape()
        return self.chars(char)

    def chars(self, *singles: str, tests: tuple[_Test, ...] = (), negated: bool = False) -> _Chars:
        return _Chars(frozenset(singles), (), tests, negated, self.any_case)

    def group(self, depth: int) -> _Tree:
        if self.next() == "?" and not self.skip("?:"):
            self.fail("of groups with a question mark only (?:...) is carried")
        found = self.choice(depth + 1)
        if not self.skip(")"):
            self.fail("a parenthesis is not closed")
        return found

    def escape(self) -> _Chars:
        char = self.next()
        self.at += 1
        if char.lower() in _ESCAPED_CLASSES and char:
            return self.chars(tests=(_ESCAPED_CLASSES[char.lower()],), negated=char.isupper())
        return self.chars(self.escaped(char))

    def escaped(self, char: str) -> str:
        if char in _ESCAPED_CHARACTERS:
            return _ESCAPED_CHARACTERS[char]
        if not char or char.isalnum():
            self.fail(f"\\{char} is not carried")
        return char

    def bracket(self) -> _Chars:
        negated = self.skip("^")
        singles: set[str] = set()
        spans: list[tuple[str, str]] = []
        tests: list[_Test] = []
        first = True
        while first or self.next() != "]":
            first = False
            low = self.member(tests)
            if low is None:
                continue
            if self.next() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                spans.append(self.span(low, self.member(tests)))
            else:
                singles.add(low)
        self.at += 1
        return _Chars(frozenset(singles), tuple(spans), tuple(tests), negated, self.any_case)

    def span(self, low: str, high: str | None) -> tuple[str, str]:
        if high is None or low > high:
            self.fail("a range runs backwards or to a class")
        return low, high

    def member(self, tests: list[_Test]) -> str | None:
        """One character of a bracket; None when it was a class, which is then among `tests`."""
        if self.skip("[:"):
            name, closed, _ = self.text[self.at :].partition(":]")
            if not closed or name not in _POSIX_CLASSES:
                self.fail("no such class")
            self.at += len(name) + 2
            tests.append(_POSIX_CLASSES[name])
            return None
        char = self.next()
        if not char:
            self.fail("a bracket is not closed")
        self.at += 1
        return char if char != "\\" else self.escaped_member(tests)

    def escaped_member(self, tests: list[_Test]) -> str | None:
        char = self.next()
        self.at += 1
        if char in _ESCAPED_CLASSES:
            tests.append(_ESCAPED_CLASSES[char])
            return None
        if char and char.lower() in _ESCAPED_CLASSES:
            known = _ESCAPED_CLASSES[char.lower()]
            tests.append(lambda each: not known(each))
            return None
        return self.escaped(char)


class _Automaton:
    """The states of one pattern; a state is (what it takes, where to), built from the end to the start."""

    def __init__(self, tree: _Tree, field: str | None) -> None:
        self.field = field
        self.takes: list[_Chars | _Edge | None] = [None]  # state 0 is the match; None with branches takes nothing
        self.leads: list[tuple[int, ...]] = [()]
        self.start = self.build(tree, 0)

    def add(self, takes: _Chars | _Edge | None, *leads: int) -> int:
        if len(self.takes) >= MAX_STATES:
            raise Invalid(
                "The pattern is too large",
                field=self.field,
                rule=f"at most {MAX_STATES} states, repetitions written out",
            )
        self.takes.append(takes)
        self.leads.append(leads)
        return len(self.takes) - 1

    def build(self, tree: _Tree, then: int) -> int:
        """The state where `tree` begins when `then` comes after it."""
        match tree:
            case _Chars() | _Edge():
                return self.add(tree, then)
            case _Sequence(parts):
                for part in reversed(parts):
                    then = self.build(part, then)
                return then
            case _Choice(parts):
                return self.add(None, *(self.build(part, then) for part in parts))
            case _Repeat(part, least, most):
                return self.repeat(part, least, most, then)

    def repeat(self, part: _Tree, least: int, most: int | None, then: int) -> int:
        if most is None:
            here = self.add(None)
            self.leads[here] = (self.build(part, here), then)
        else:
            here = then
            for _ in range(most - least):
                here = self.add(None, self.build(part, here), then)
        for _ in range(least):
            here = self.build(part, here)
        return here

    def reach(self, states: Iterable[int], at_start: bool, at_end: bool) -> frozenset[int]:
        """The states that wait for a character, the end or nothing, from `states` without taking a character."""
        waiting, seen, found = list(states), set[int](), set[int]()
        while waiting:
            state = waiting.pop()
            if state in seen:
                continue
            seen.add(state)
            takes = self.takes[state]
            if state == 0 or isinstance(takes, _Chars):
                found.add(state)
            elif takes is None or (at_start if takes.start else at_end):
                waiting.extend(self.leads[state])
            elif not takes.start:
                found.add(state)
        return frozenset(found)


class _Met:
    """A set of states that was met, and where each character led from it."""

    __slots__ = ("ends", "leads", "matched", "states")

    def __init__(self, states: frozenset[int], ends: bool) -> None:
        self.states, self.ends = states, ends
        self.matched = 0 in states
        self.leads: dict[str, _Met] = {}


class Pattern:
    """A compiled pattern; `source` is the text as it was given."""

    __slots__ = ("_automaton", "_first", "_known", "_room", "source")

    def __init__(self, source: str, field: str | None = None) -> None:
        if not 0 < len(source) <= MAX_LENGTH:
            raise Invalid("The pattern is empty or too long", field=field, rule=f"1 to {MAX_LENGTH} characters")
        self.source = source
        self._automaton = _Automaton(_Reader(source, field).whole(), field)
        self._forget()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Pattern({self.source!r})"

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in the text; time grows with the text's length only."""
        met = self._first
        if met.matched:
            return True
        for char in text:
            after = met.leads.get(char)
            if after is None:
                after = self._step(met, char)
            if after.matched:
                return True
            if not after.states:
                return False
            met = after
        return met.ends

    def _forget(self) -> None:
        self._known: dict[frozenset[int], _Met] = {}
        self._room = _MAX_REMEMBERED
        start = (self._automaton.start,)
        ends = 0 in self._automaton.reach(start, at_start=True, at_end=True)
        self._first = _Met(self._automaton.reach(start, at_start=True, at_end=False), ends)

    def _step(self, met: _Met, char: str) -> _Met:
        """Where a character leads that was not met here before; the pattern may begin in every place."""
        automaton = self._automaton
        if self._room <= 0:
            self._forget()
        reached = [automaton.start]
        for state in met.states:
            takes = automaton.takes[state]
            if isinstance(takes, _Chars) and takes.has(char):
                reached.extend(automaton.leads[state])
        states = automaton.reach(reached, at_start=False, at_end=False)
        after = self._known.get(states)
        if after is None:
            ends = 0 in automaton.reach(states, at_start=False, at_end=True)
            after = self._known[states] = _Met(states, ends)
        met.leads[char] = after
        self._room -= 1
        return after
