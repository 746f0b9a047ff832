"""A question to the city as one small tree of frozen nodes, answered on a document by evaluate and in SQL by the store.

Promises: the nodes are few and `Node` names them all, so that a `match` over it can be exhaustive. Names are expanded
IRIs already; nothing here needs an @context. Nodes are hashable and equal by content; note that Python holds 1, 1.0
and true for equal, so that a memory of compiled trees must be kept by the text of the question and not by the tree.
Source: ETSI GS CIM 009 V1.9.1 clauses 4.9 (q), 4.10 (geo), 4.17 (types), 4.19 (scopes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from shahar.model.query.moments import Kind
from shahar.model.query.patterns import Pattern
from shahar.values.places import Box

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

IRI = str
NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"
LOCATION: Final[IRI] = NGSI_LD + "location"

Op = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]
GeoRel = Literal["near", "within", "contains", "overlaps", "intersects", "equals", "disjoint"]

# Sub-paths that are members of an instance and not sub-attributes, and the member's name in the document.
MOMENT_MEMBERS: Final = {NGSI_LD + name: name for name in ("observedAt", "createdAt", "modifiedAt", "expiresAt")}
TEXT_MEMBERS: Final = {
    NGSI_LD + "unitCode": "unitCode",
    NGSI_LD + "datasetId": "datasetId",
    NGSI_LD + "hasObjectType": "objectType",
}


@dataclass(frozen=True, slots=True)
class Path:
    """An attribute, the dotted names under it, and the names in its square brackets: `attr.sub.sub[key.key]`.

    The last of `subs` may be one of MOMENT_MEMBERS or TEXT_MEMBERS. `keys` is a language tag or "*" for a
    LanguageProperty.
    """

    attr: IRI
    subs: tuple[IRI, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """A date-time, date or time; `at` is microseconds on the scale of its kind, `text` what was written in quotes.

    In quotes it is a string as well: beside a target that is no moment of this kind, `text` is what counts.
    """

    kind: Kind
    at: int
    text: str | None = None


Scalar = bool | int | float | str | When
"""A literal value. Text in quotes and a URI without them are both `str`."""


@dataclass(frozen=True, slots=True)
class Range:
    """From low to high, both within; the ends are two numbers, two texts, or two moments of one kind."""

    low: Scalar
    high: Scalar


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A list of values, any of which will do."""

    values: tuple[Scalar, ...]


Value = Scalar | Range | AnyOf | Pattern


@dataclass(frozen=True, slots=True)
class Compare:
    """A target against a value: Range and AnyOf with == and != alone, a Pattern with ~= and !~=, bool with no order.

    `expanded` is the value with its texts expanded by the @context. It is set for attributes named in expandValues, and
    then counts instead of `value` where the target is a VocabProperty.
    """

    path: Path
    op: Op
    value: Value
    expanded: Value | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The target is there, whatever its value."""

    path: Path


@dataclass(frozen=True, slots=True)
class Linked:
    """`attr{...}`: an entity that the relationship points to, of one of `types` if there are any, satisfies `part`."""

    attr: IRI
    types: tuple[IRI, ...]
    part: Node


@dataclass(frozen=True, slots=True)
class TypeIs:
    """The entity has this type, perhaps among others."""

    iri: IRI


@dataclass(frozen=True, slots=True)
class ScopeIs:
    """The entity has a scope of these levels, "+" standing for any one; with `below`, or one under such a scope.

    No levels and `below` is "/#": any scope at all.
    """

    levels: tuple[str, ...]
    below: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds; two parts at least."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One part holds; two parts at least."""

    parts: tuple[Node, ...]


Node = Compare | Exists | Linked | TypeIs | ScopeIs | And | Or


@dataclass(frozen=True, slots=True)
class Geo:
    """How a GeoProperty lies to a reference shape; metres are set for "near" only, exactly one of the two.

    `box` meets the box of every target that can match, for an index; None when none can be left out (disjoint, and near
    with a least distance).
    """

    rel: GeoRel
    shape: BaseGeometry
    attr: IRI = LOCATION
    min_m: float | None = None
    max_m: float | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A whole question: every part set must hold, of `attrs` one at least; `ids` win over `id_pattern` (5.2.33)."""

    ids: tuple[str, ...] = ()
    id_pattern: Pattern | None = None
    types: Node | None = None
    attrs: tuple[IRI, ...] = ()
    q: Node | None = None
    scope: Node | None = None
    geo: Geo | None = None


def selected(query: Query, entity_id: str) -> bool:
    """Whether a question asks for this id: by its ids, else by its pattern."""
    if query.ids:
        return entity_id in query.ids
    return query.id_pattern is None or query.id_pattern.matches(entity_id)


def attributes(node: Node | None) -> frozenset[IRI]:
    """The attributes of the entity itself that a q names, createdAt and modifiedAt among them."""
    match node:
        case Compare(path=path) | Exists(path=path):
            return frozenset((path.attr,))
        case Linked(attr=attr):
            return frozenset((attr,))
        case And(parts) | Or(parts):
            return frozenset[IRI]().union(*map(attributes, parts))
        case TypeIs() | ScopeIs() | None:
            return frozenset()


def linked_depth(node: Node | None) -> int:
    """How many relationships a q follows at most, 0 for none (to be held against joinLevel, 5.7.2.4)."""
    match node:
        case Linked(part=part):
            return 1 + linked_depth(part)
        case And(parts) | Or(parts):
            return max(map(linked_depth, parts))
        case Compare() | Exists() | TypeIs() | ScopeIs() | None:
            return 0
