"""Which members of an entity are shown: the language of `pick` and `omit`, read into one tree.

    id,name,locatedAt{id,isInCountry{name}}

A name alone is a member of the entity (id, type, scope or an attribute); braces after it say which members of the
entities that this relationship leads to. Picking `a{b}` picks `a` itself as well; omitting `a{b}` leaves `a` where it
is.
Promises: what is no such expression raises Invalid with the parameter's name, and nothing else does; depth and number
of names are bounded. Names come out expanded.
Source: ETSI GS CIM 009 clause 4.21. Departures: a name may have a prefix or be an IRI (4.6.2), and braces may stand
after any of the names, as the examples of 4.21 do it, not only after the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from shahar.values.bounds import QUERY_NAMES
from shahar.values.errors import Invalid

Expand = Callable[[str], str]

LEVELS_MAX: Final = 8
"""Relationships followed one behind the other, in an expression and in an answer."""
MEMBERS: Final = frozenset({"id", "type", "scope"})
"""What an entity has besides attributes; these names are never expanded."""
_NAME: Final = re.compile(r"[^\s,|{}]+")


@dataclass(frozen=True, slots=True)
class Projection:
    """What is shown of an entity (nothing picked: all) and, by relationship, of the entities that it leads to."""

    pick: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()
    below: Mapping[str, Projection] = field(default_factory=dict, hash=False)

    @property
    def depth(self) -> int:
        """How many relationships the expression goes along."""
        return max((1 + part.depth for part in self.below.values()), default=0)


def parse(pick: str | None, omit: str | None, expand: Expand) -> Projection:
    """The projection of the two parameters; Invalid when one is malformed or a member stands in both."""
    picked = _Reader(pick, "pick", expand).read() if pick is not None else {}
    omitted = _Reader(omit, "omit", expand).read() if omit is not None else {}
    return _joined(picked, omitted)


def members(text: str, field: str, expand: Expand) -> frozenset[str]:
    """The members that a list without braces names; Invalid when it goes along a relationship."""
    found = _Reader(text, field, expand).read()
    deep = next((name for name, under in found.items() if under), None)
    if deep is not None:
        raise Invalid(f"{deep!r:.80} leads to other entities", field=field, rule="members of the entity itself")
    return frozenset(found)


_Tree = dict[str, "_Tree"]


def _joined(picked: _Tree, omitted: _Tree) -> Projection:
    leaves = frozenset(name for name, under in omitted.items() if not under)
    both = sorted(leaves & picked.keys())
    if both:
        raise Invalid(f"{both[0]!r:.80} is picked and omitted", field="omit", rule="a member in pick or in omit")
    into = [name for name in {**picked, **omitted} if picked.get(name) or omitted.get(name)]
    below = {name: _joined(picked.get(name, {}), omitted.get(name, {})) for name in into}
    return Projection(frozenset(picked), leaves, below)


class _Reader:
    """An expression being read from left to right."""

    def __init__(self, text: str, field: str, expand: Expand) -> None:
        self.text, self.field, self.expand = text, field, expand
        self.at = self.names = 0

    def read(self) -> _Tree:
        """The whole expression."""
        found = self.members(0)
        if self.at < len(self.text):
            self.fail("a separator")
        return found

    def members(self, depth: int) -> _Tree:
        """Names joined by a comma or a bar, each with what its braces hold."""
        found: _Tree = {}
        while True:
            name = self.name()
            under = self.braces(depth) if self.skip("{") else {}
            if name in found:
                raise Invalid(f"{name!r:.80} is named twice", field=self.field, rule="each member once")
            found[name] = under
            if not (self.skip(",") or self.skip("|")):
                return found

    def name(self) -> str:
        """One name, expanded."""
        found = _NAME.match(self.text, self.at)
        if found is None:
            self.fail("the name of a member")
        self.at = found.end()
        self.names += 1
        if self.names > QUERY_NAMES:
            raise Invalid(f"{self.field} has too many names", field=self.field, rule=f"at most {QUERY_NAMES} names")
        return found.group() if found.group() in MEMBERS else self.expand(found.group())

    def braces(self, depth: int) -> _Tree:
        """What stands between braces, the first of which is read already."""
        if depth >= LEVELS_MAX:
            raise Invalid(f"{self.field} is nested too deep", field=self.field, rule=f"at most {LEVELS_MAX} levels")
        found = self.members(depth + 1)
        if not self.skip("}"):
            self.fail("a closing brace")
        return found

    def skip(self, sign: str) -> bool:
        """Whether the sign stood here; it is read then."""
        if not self.text.startswith(sign, self.at):
            return False
        self.at += 1
        return True

    def fail(self, wanted: str) -> NoReturn:
        """Say what was wanted instead of what stands here."""
        found = repr(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "the end"
        raise Invalid(
            f"At character {self.at + 1} stands {found} instead of {wanted}",
            field=self.field,
            rule="ETSI GS CIM 009 clause 4.21",
        )
