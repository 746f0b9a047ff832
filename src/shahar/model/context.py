"""JSON-LD @context compiled once to two lookup tables: short name -> IRI and IRI -> short name.

For: expanding and compacting names at the price of a dictionary lookup (a JSON-LD processor takes 1-3 ms a request,
this 6 us).
Promises: the tables agree with a JSON-LD 1.1 processor for term definitions, prefixes, @vocab, nested, imported and
scoped contexts and aliases of keywords, which tests hold against PyLD; the core @context is applied last and wins,
also over scoped contexts (ETSI GS CIM 009 clause 5.5.7); what `compact` gives, `expand` of the same context takes back.
How scopes apply (JSON-LD 1.1 sections 4.1.8 and 4.1.9): `of_types` is the context of the members of a node of some
types, `within` that of what stands in one of its members. A type's scope does not reach into nested nodes, and here
every attribute is one; that of a member does; each may say otherwise with @propagate. `plain` contexts, without scoped
terms and without aliases, are spared all of it.
Does not: fetch anything (`addresses` says which documents are wanted; services/contexts.py gets them); look into
values, which are opaque but for VocabProperty; rename members (model/aliases does).
Source: https://www.w3.org/TR/json-ld11-api/ sections 4.1, 4.2, 5.1 and 6.1; ETSI GS CIM 009 clauses 4.4, 5.5.7;
docs/decisions/001-context-tables.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import merge
from typing import Final

from shahar.model.definitions import Source, Table, addresses, is_core, tables_of
from shahar.model.terms import CORE_ALIASES, CORE_PREFIXES, CORE_TERMS, DEFAULT_VOCABULARY
from shahar.values.bounds import NAME_CHARS
from shahar.values.errors import Invalid

__all__ = ["CORE", "WHOLE", "Context", "Source", "addresses", "check_name", "compile_context", "is_core"]

_CACHE_MAX: Final = 10_000
_SCOPED_CACHE_MAX: Final = 250
_PLACES_MAX: Final = 500
"""Contexts with scoped ones over them that one @context keeps, each with so many names."""
_FORBIDDEN: Final = frozenset("<>\"'=;(){}[]|\\^` \t\r\n\0")


class Context:
    """One compiled @context, or what holds of it in one place. `source` is what the user gave (echoed in answers),
    never the core, `documents` what it was compiled from besides. `plain`: it holds alike everywhere, and no name but
    the standard's own stands for a keyword.
    """

    __slots__ = (
        "_compacted",
        "_expanded",
        "_layers",
        "_made",
        "_most",
        "_outer",
        "_places",
        "_root",
        "documents",
        "plain",
        "source",
    )

    def __init__(
        self,
        source: Source,
        documents: Mapping[str, Source],
        layers: tuple[Table, ...],
        root: Context | None = None,
        outer: Context | None = None,
    ) -> None:
        self.source, self.documents, self._layers, self._outer = source, documents, layers, outer
        self._root = self if root is None else root
        self._places: dict[object, Context] = {}
        self._made = 0
        self._expanded: dict[str, str] = {}
        self._compacted: dict[str, str] = {}
        self._most = _SCOPED_CACHE_MAX
        self.plain = False
        if root is None:
            (table,) = layers
            self.plain = outer is None and not table.scopes and table.aliases.keys() <= CORE_ALIASES.keys()
            own = {term: iri for term, iri in table.terms.items() if iri is not None and term not in CORE_ALIASES}
            self._expanded = {**own, **CORE_TERMS}
            self._compacted = _inverse(self._expanded)
            self._most = _CACHE_MAX + len(self._expanded)

    def expand(self, name: str) -> str:
        """The IRI of an attribute's or a type's name; Invalid when the name may not be one (clause 4.6.2)."""
        found = self._expanded.get(name)
        if found is None:
            found = self._expand_new(name)
        return found

    def _expand_new(self, name: str) -> str:
        found = self._term(name)
        if found is None:
            check_name(name)
            found = self._meaning(name)
        if found is None:
            rule = "JSON-LD 1.1: an alias of a keyword is no name of anything else"
            raise Invalid(f"{name!r:.80} stands for {self.keyword(name)}", field=name[:80], rule=rule)
        if len(self._expanded) < self._most:
            self._expanded[name] = found
        return found

    def compact(self, iri: str) -> str:
        """The shortest name of an IRI in this context: a term, a name of the default vocabulary, a prefixed name, or
        the IRI.
        """
        found = self._compacted.get(iri)
        if found is None:
            found = self._compact_new(iri)
            if len(self._compacted) < self._most:
                self._compacted[iri] = found
        return found

    def _compact_new(self, iri: str) -> str:
        if self._root is not self:
            terms = self._terms_for(iri)
            if terms:
                return min(terms, key=_rank)
        if iri.startswith(DEFAULT_VOCABULARY):
            name = iri[len(DEFAULT_VOCABULARY) :]
            if name and ":" not in name and name not in CORE_ALIASES and self._meaning(name) == iri:
                return name
        for _, prefix, start in merge(_CORE_STARTS, *(table.starts() for table in self._layers)):
            name = f"{prefix}:{iri[len(start) :]}"
            if iri.startswith(start) and len(iri) > len(start) and self._meaning(name) == iri:
                return name
        return iri

    def _terms_for(self, iri: str) -> list[str]:
        """Every term that stands for an IRI here."""
        found = [_CORE_NAMES[iri]] if iri in _CORE_NAMES else []
        for table in self._layers:
            found += [term for term in table.names(iri) if self._layer(term) is table]
        return found

    def _layer(self, name: str) -> Table | None:
        """The innermost table that speaks of a name."""
        for table in self._layers:
            if name in table.terms:
                return table
        return None

    def _term(self, name: str) -> str | None:
        """The IRI of a term; None when the name is none."""
        found = CORE_TERMS.get(name)
        if found is not None or name in CORE_ALIASES:
            return found
        table = self._layer(name)
        return None if table is None else table.terms[name]

    def _meaning(self, name: str) -> str | None:
        """What a name means: its own definition's IRI, a prefix and the rest, itself when it is an IRI, else a name of
        the default vocabulary. None: it stands for a keyword.
        """
        found = self._term(name)
        if found is not None:
            return found
        if self.keyword(name) is not None:
            return None
        prefix, colon, rest = name.partition(":")
        if not colon:
            return DEFAULT_VOCABULARY + name
        if prefix in CORE_PREFIXES and not rest.startswith("//"):
            return CORE_TERMS[prefix] + rest
        table = None if prefix in CORE_TERMS or rest.startswith("//") else self._layer(prefix)
        if table is not None and prefix in table.prefixes:
            return f"{table.terms[prefix]}{rest}"
        return name

    # -- places -------------------------------------------------------------------------------------------------------

    def keyword(self, name: str) -> str | None:
        """The keyword that a name of the user's stands for; None for others, and for `id` and `type`."""
        if name in CORE_TERMS or name in CORE_ALIASES:
            return None
        table = self._layer(name)
        return None if table is None else table.aliases.get(name)

    def of_types(self, names: Iterable[str]) -> Context:
        """The context of the members of a node whose types are written so. Invalid when the scoped contexts of two
        types contradict each other in a protected term."""
        if self.plain:
            return self
        found = self
        for name in sorted(set(names)):
            scope = self._scope(name)
            if scope is not None:
                found = found._over(scope, propagates=False)
        return found

    def within(self, name: str) -> Context:
        """The context of what stands in the member of this name."""
        if self.plain:
            return self
        scope = self._scope(name)
        base = self if self._outer is None else self._outer
        return base if scope is None else base._over(scope, propagates=True)

    def _scope(self, name: str) -> Table | None:
        if name in CORE_TERMS or name in CORE_ALIASES:
            return None
        table = self._layer(name)
        return None if table is None else table.scopes.get(name)

    def _over(self, scope: Table, *, propagates: bool) -> Context:
        """This context with a scoped one over it; `propagates` is what holds when that one does not say."""
        key = (id(scope), propagates)  # tables live as long as the root does, and it as long as this
        found = self._places.get(key)
        if found is not None:
            return found
        if not propagates:
            self._check_protected(scope)
        outer = self._outer
        if outer is None and not (propagates if scope.propagates is None else scope.propagates):
            outer = self
        layers = (scope,) if scope.clears else (scope, *self._layers)
        found = Context(self.source, self.documents, layers, self._root, outer)
        root = self._root
        root._made += 1
        if root._made > _PLACES_MAX:  # whoever meets these again makes them again
            root._made = 0
            root._places.clear()
        self._places[key] = found
        return found

    def _check_protected(self, scope: Table) -> None:
        """Invalid when the scope of a type ends or changes what is protected; that of a member may (4.1.11)."""
        for table in self._layers:
            for term in table.protected:
                if self._layer(term) is not table or term in CORE_TERMS or term in CORE_ALIASES:
                    continue
                if scope.clears or (term in scope.terms and not scope.defines_as(table, term)):
                    rule = "JSON-LD 1.1: the scoped context of a type keeps protected terms"
                    raise Invalid(f"term {term!r:.80} is protected", field="@context", rule=rule)


class Whole(Context):
    """Names written whole but for the core's: what they mean is the same in every @context."""

    __slots__ = ()

    def compact(self, iri: str) -> str:
        """The core's term of an IRI, else the IRI."""
        return iri if iri.startswith(DEFAULT_VOCABULARY) else super().compact(iri)


def check_name(name: object) -> None:
    """Invalid when a name has no character, too many, or one that the standard keeps for itself."""
    if not isinstance(name, str) or not name or len(name) > NAME_CHARS or not _FORBIDDEN.isdisjoint(name):
        raise Invalid(
            f"{name!r:.80} is not a name", field=str(name)[:80], rule="ETSI GS CIM 009 clause 4.6.2: supported names"
        )


def _inverse(terms: Mapping[str, str]) -> dict[str, str]:
    """IRI -> the term that is written for it."""
    inverse: dict[str, str] = {}
    for term, iri in sorted(terms.items(), key=lambda pair: _rank(pair[0])):
        inverse.setdefault(iri, term)
    return inverse


def _rank(term: str) -> tuple[bool, int, str]:
    """Of several names the core's comes first, then the shortest, then the first of the alphabet."""
    return term not in CORE_TERMS, len(term), term


def compile_context(source: Source, documents: Mapping[str, Source]) -> Context:
    """Compile `source`; `documents` maps each remote address to what stands under @context there.

    Raises ContextUnavailable when an address is not among the documents, Invalid when a definition breaks JSON-LD's
    rules.
    """
    table = tables_of(source, documents)
    outer = Context(None, {}, (Table(),)) if table.propagates is False else None
    return Context(source, documents, (table,), outer=outer)


_CORE_NAMES: Final = _inverse(CORE_TERMS)
_CORE_STARTS: Final = sorted((-len(CORE_TERMS[prefix]), prefix, CORE_TERMS[prefix]) for prefix in CORE_PREFIXES)
CORE: Final = compile_context(None, {})
"""The core @context alone: what a request without any @context means."""
WHOLE: Final = Whole(None, {}, (Table(),))
"""What another broker understands that reads no scoped contexts, whichever @context it is told."""
