"""Linked entities: what stands at the other end of the relationships of an answer, put into it or behind it.

`flat` appends the linked entities behind the linking ones, each once; `inline` puts each into the relationship that
leads to it, as often as it is led to, but never below itself (a circle ends where it closes).
Promises: pure: entities come from a `fetch` (or from whoever goes along with `hops`) that gives those that exist and
may be read, all others are treated alike, as not there; at most LEVELS_MAX relationships are followed one behind the
other, and LINKED_MAX entities are brought in by one answer, as many as are written out: beyond that TooComplex is
raised before more is read. What a view does not show is not followed.
Does not: follow relationships of attributes (relationships below attributes), nor into the past.
Source: ETSI GS CIM 009 clauses 4.5.23, 5.7.1.5, 5.7.2.5; `entity` and `entityList` 5.2.6, 5.2.37; simplified 4.5.4.
A linking entity need not say objectType: what is stored here is followed (4.5.23.1); of what sources hold it must.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from shahar.model import query as q
from shahar.model.entity import VALUE_MEMBER, Doc, Instance
from shahar.model.render import View, chosen, entity, shows
from shahar.model.render import within as named_by
from shahar.values.errors import TooComplex

LINKED_MAX: Final = 1_000
RELATIONSHIPS: Final = frozenset({"Relationship", "ListRelationship"})

Fetch = Callable[[Sequence[str]], Iterable[Doc]]
"""The entities of these ids, those left out that do not exist or may not be read."""
Hop = Mapping[str, tuple[str, ...]]
"""The ids that one level leads to, each with the types that relationships say it has (objectType)."""


@dataclass(frozen=True, slots=True)
class Join:
    """How linked entities are wanted: the form, how many relationships deep, and ids that the caller has met
    already."""

    form: Literal["flat", "inline"]
    levels: int = 1
    met: frozenset[str] = frozenset()


@dataclass(slots=True)
class Linked:
    """What a walk found: `docs` by id, the linking ones too; `behind` for the flat form, in the order of meeting."""

    docs: dict[str, Doc]
    plain: View
    behind: list[tuple[Doc, View]] = field(default_factory=list)


def walk(docs: Sequence[Doc], view: View, join: Join, fetch: Fetch) -> Linked:
    """Read what `docs` lead to, level by level; TooComplex when it is more than LINKED_MAX entities."""
    going = hops(docs, view, join)
    try:
        wanted = next(going)
        while True:
            wanted = going.send(fetch(tuple(wanted)))
    except StopIteration as end:
        found: Linked = end.value
        return found


def hops(docs: Sequence[Doc], view: View, join: Join) -> Generator[Hop, Iterable[Doc], Linked]:
    """The same walk, for whoever fetches entities in a way of their own: each level is asked for at once and sent back;
    no id is asked for twice, however the entities lead to each other. Raises TooComplex."""
    linked = Linked({doc["id"]: doc for doc in docs}, beyond(view))
    asked = {*linked.docs, *join.met}
    own = len(asked)
    seen: set[tuple[str, int]] = set()
    flat = join.form == "flat"
    front = [(doc, view) for doc in docs]
    for _ in range(join.levels):
        ahead = [step for doc, shown in front for step in _steps(doc, shown, linked.plain)]
        fresh: dict[str, tuple[str, ...]] = {}
        for uri, _, kinds in ahead:
            if uri not in asked:
                fresh[uri] = tuple(dict.fromkeys((*fresh.get(uri, ()), *kinds)))
        asked.update(fresh)
        if len(asked) - own > LINKED_MAX:
            raise _too_many()
        arrived = {doc["id"]: doc for doc in (yield fresh)} if fresh else {}
        linked.docs.update(arrived)
        front = []
        for uri, shown, _ in ahead:
            key = (uri, 0 if flat else id(shown))
            if uri in (arrived if flat else linked.docs) and key not in seen:
                seen.add(key)
                front.append((linked.docs[uri], shown))
        linked.behind += front if flat else []
    return linked


def beyond(view: View) -> View:
    """The view of linked entities that no projection speaks of: all members, in the same form."""
    return replace(view, attrs=frozenset(), pick=frozenset(), omit=frozenset(), below={})


def _steps(doc: Doc, view: View, plain: View) -> Iterator[tuple[str, View, Sequence[str]]]:
    """The ids that an entity leads to by what is shown of it, each with the view of what stands there, and the types
    that the relationship says it has."""
    for iri, instances in _relationships(doc, view):
        under = view.below.get(iri, plain)
        for one in chosen(instances, view):
            for uri in _targets(one):
                yield uri, under, one.get("objectType", ())


def _relationships(doc: Doc, view: View) -> Iterator[tuple[str, list[Instance]]]:
    for iri, instances in doc["attrs"].items():
        if shows(iri, view) and any(one["type"] in RELATIONSHIPS for one in instances):
            yield iri, instances


def _targets(one: Instance) -> list[str]:
    if one["type"] not in RELATIONSHIPS:
        return []
    found = one[VALUE_MEMBER[one["type"]]]
    return found if isinstance(found, list) else [found]


def embed(docs: Iterable[Doc], view: View, join: Join, linked: Linked) -> list[Doc]:
    """The entities, each relationship with what it leads to, rendered, in a member `linked` ({id: entity})."""
    weave = _Weave(linked)
    return [weave.into(doc, view, join.levels, join.met | {doc["id"]}) for doc in docs]


@dataclass(slots=True)
class _Weave:
    linked: Linked
    written: int = 0

    def into(self, doc: Doc, view: View, levels: int, above: frozenset[str]) -> Doc:
        """The entity with its relationships filled, `levels` deep; what stands above it is not repeated."""
        if not levels:
            return doc
        attrs = dict(doc["attrs"])
        context = named_by(doc, view)
        for iri, instances in _relationships(doc, view):
            under = view.below.get(iri, self.linked.plain)
            if not context.plain:
                under = replace(under, context=context.within(context.compact(iri)).within("entity"))
            attrs[iri] = [self._filled(one, under, levels, above) for one in instances]
        return {**doc, "attrs": attrs}

    def _filled(self, one: Instance, view: View, levels: int, above: frozenset[str]) -> Instance:
        found: dict[str, Any] = {}
        for uri in _targets(one):
            other = self.linked.docs.get(uri)
            if other is None or uri in above:
                continue
            self.written += 1
            if self.written > LINKED_MAX:
                raise _too_many()
            shown = entity(self.into(other, view, levels - 1, above | {uri}), view)
            if shown:
                found[uri] = shown
        return {**one, "linked": found} if found else one


def _too_many() -> TooComplex:
    detail = "the answer would bring in too many linked entities; ask for fewer entities or levels"
    return TooComplex(detail, field="join", rule=f"at most {LINKED_MAX} linked entities in an answer")


def within(node: q.Node, types: q.Node) -> q.Node:
    """The condition, what it follows narrowed to entities of `types`: nobody asks about what they may not read."""
    match node:
        case q.Linked(attr, kinds, part):
            return q.Linked(attr, kinds, q.And((types, within(part, types))))
        case q.And(parts):
            return q.And(tuple(within(part, types) for part in parts))
        case q.Or(parts):
            return q.Or(tuple(within(part, types) for part in parts))
    return node
