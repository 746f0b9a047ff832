"""The definitions of an @context, read from JSON to tables: which name stands for which IRI, and where.

For: model/context, which answers questions about names from these tables. One table holds what one @context defines;
a scoped context (an @context inside the definition of a term, JSON-LD 1.1 section 4.1.8) is a table of its own, reached
through the term, and is laid over the tables of the place where it applies.
Promises: raises Invalid when a definition breaks JSON-LD's rules, ContextUnavailable when a document is missing, also
for a scoped context that nobody uses; no term of the core @context is defined by a scoped one (ETSI GS CIM 009 clause
5.5.7); work and memory are bounded by the terms of all these contexts together.
Does not: fetch; look into values.
Departures: what a scoped context says is read where it stands. JSON-LD reads it again wherever it is used, which tells
a difference only where another scope has given a prefix in it another meaning. A scoped context that leads back to a
document that it stands in is refused; JSON-LD would read it without end.
Source: https://www.w3.org/TR/json-ld11-api/ sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shahar.model.terms import CORE_ALIASES, CORE_PATTERN, CORE_PREFIXES, CORE_TERMS, DEFAULT_VOCABULARY
from shahar.values.bounds import (
    CONTEXT_CHAIN,
    CONTEXT_LEVELS,
    CONTEXT_SCOPES,
    CONTEXT_TERMS,
    CONTEXTS_PER_REQUEST,
    JSON_DEPTH,
)
from shahar.values.errors import ContextUnavailable, Invalid

_INCLUDED_MAX: Final = 4 * CONTEXTS_PER_REQUEST
_GEN_DELIMS: Final = tuple(":/?#[]@")
_KEYWORDS: Final = frozenset(
    "@base @container @context @direction @graph @id @import @included @index @json @language @list @nest @none @prefix"
    " @propagate @protected @reverse @set @type @value @version @vocab".split()
)

Source = Any
"""What stands under @context: an address, an object, or a list of both."""

Start = tuple[int, str, str]
"""A prefix in the order in which prefixes are tried: length of its IRI below zero, the prefix, its IRI."""


@dataclass(slots=True)
class Table:
    """What one @context defines.

    `terms`: every name it speaks of, with its IRI, None where the name is no term (any more); `aliases`: names of
    keywords; `scopes`: the tables inside definitions; `protected`: terms that may not be defined otherwise, with the
    rest of their definitions; `raw`: the definitions as given, of a scoped context alone. `clears`: nothing that was
    said before holds; `propagates`: whether it says that it holds in nested nodes.
    """

    terms: dict[str, str | None] = field(default_factory=dict)
    prefixes: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    scopes: dict[str, Table] = field(default_factory=dict)
    protected: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    clears: bool = False
    propagates: bool | None = None
    _by_iri: dict[str, list[str]] | None = None
    _starts: list[Start] | None = None

    def names(self, iri: str) -> list[str]:
        """The terms that it gives an IRI."""
        if self._by_iri is None:
            self._by_iri = {}
            for term, each in self.terms.items():
                if each is not None and term not in CORE_TERMS and term not in CORE_ALIASES:
                    self._by_iri.setdefault(each, []).append(term)
        return self._by_iri.get(iri, [])

    def starts(self) -> list[Start]:
        """Its prefixes, those of long IRIs first."""
        if self._starts is None:
            pairs = [(self.terms[prefix] or "", prefix) for prefix in self.prefixes if prefix not in CORE_TERMS]
            self._starts = sorted((-len(iri), prefix, iri) for iri, prefix in pairs)
        return self._starts

    def defines_as(self, other: Table, term: str) -> bool:
        """Whether a scoped table gives a term the definition that it has, protected, in another."""
        return (self.terms.get(term), term in self.prefixes, self.aliases.get(term), rest_of(self.raw.get(term))) == (
            other.terms.get(term),
            term in other.prefixes,
            other.aliases.get(term),
            other.protected[term],
        )


def rest_of(definition: Any) -> dict[str, Any]:
    """A definition without what tables say already."""
    if not isinstance(definition, dict):
        return {}
    return {key: value for key, value in definition.items() if key not in {"@id", "@protected"}}


def is_core(address: str) -> bool:
    """Whether an address is a published core @context (exact version pattern, so that a misspelt one is missed)."""
    return CORE_PATTERN.fullmatch(address) is not None


def addresses(source: Source, left: int = JSON_DEPTH) -> Iterator[str]:
    """The addresses of remote contexts that stand in `source` and in its scoped contexts, core ones left out."""
    if left <= 0:
        raise _nested()
    if isinstance(source, str):
        if not is_core(source):
            yield source
    elif isinstance(source, list):
        for part in source:
            yield from addresses(part, left - 1)
    elif isinstance(source, dict):
        if isinstance(source.get("@import"), str):
            yield from addresses(source["@import"])
        for definition in source.values():
            if isinstance(definition, dict) and "@context" in definition:
                yield from addresses(definition["@context"], left - 1)
    elif source is not None:
        raise _no_context()


def tables_of(source: Source, documents: Mapping[str, Source]) -> Table:
    """The table of an @context, with those of its scoped ones; `documents` maps each remote address to what stands
    under @context there. Raises ContextUnavailable, Invalid.
    """
    return _Compiler(documents, _Meter()).compile(source, ())


def _nested() -> Invalid:
    rule = f"at most {_INCLUDED_MAX} contexts, {CONTEXT_LEVELS} deep"
    return Invalid("too many nested @contexts", field="@context", rule=rule)


def _no_context() -> Invalid:
    return Invalid(
        "an @context is an address, an object, or a list of them", field="@context", rule="JSON-LD 1.1 context"
    )


@dataclass(slots=True)
class _Meter:
    """What all contexts of a request's @context have cost together."""

    scopes: int = 0
    terms: int = 0

    def count_terms(self, terms: int) -> None:
        self.terms += terms
        if self.terms > CONTEXT_TERMS:
            raise Invalid("too many terms in the @context", field="@context", rule=f"at most {CONTEXT_TERMS} terms")

    def count_scope(self, level: int) -> None:
        self.scopes += 1
        if self.scopes > CONTEXT_SCOPES or level > CONTEXT_LEVELS:
            rule = f"at most {CONTEXT_SCOPES} scoped contexts, {CONTEXT_LEVELS} deep"
            raise Invalid("too many scoped contexts in the @context", field="@context", rule=rule)


class _Compiler:
    """Walks nested contexts in order, later definitions over earlier ones. `around`: the tables that hold where a
    scoped context stands, innermost first.
    """

    def __init__(
        self, documents: Mapping[str, Source], meter: _Meter, around: tuple[Table, ...] = (), level: int = 0
    ) -> None:
        self.documents, self.meter, self.around, self.level = documents, meter, around, level
        self.scoped = level > 0
        self.table = Table()
        self.seen = 0
        self.vocabulary = DEFAULT_VOCABULARY
        self.waiting: dict[str, tuple[Source, tuple[str, ...]]] = {}

    def compile(self, source: Source, chain: tuple[str, ...]) -> Table:
        """The finished table. Scoped contexts come last, so that they see every definition around them."""
        self.add(source, chain)
        self.table.propagates = self._propagates(source)
        for term, (inner, inner_chain) in self.waiting.items():
            self.meter.count_scope(self.level + 1)
            below = _Compiler(self.documents, self.meter, (self.table, *self.around), self.level + 1)
            self.table.scopes[term] = below.compile(inner, inner_chain)
        return self.table

    def _propagates(self, source: Source) -> bool | None:
        """What the context says of itself; a remote one can only say that it does not (JSON-LD 1.1 API, 4.1.2)."""
        if isinstance(source, dict):
            return _flag(source, "@propagate")
        document = self.documents.get(source) if isinstance(source, str) else None
        return False if isinstance(document, dict) and _flag(document, "@propagate") is False else None

    def add(self, source: Source, chain: tuple[str, ...]) -> None:
        self.seen += 1
        if self.seen > _INCLUDED_MAX or len(chain) > CONTEXT_LEVELS:
            raise _nested()
        if isinstance(source, str):
            self._add_remote(source, chain)
        elif isinstance(source, list):
            for part in source:
                self.add(part, chain)
        elif isinstance(source, dict):
            self._add_local(source, chain)
        elif source is None:
            self._clear()
        else:
            raise _no_context()

    def _add_remote(self, address: str, chain: tuple[str, ...]) -> None:
        if not is_core(address):
            self.add(self._document(address, chain), (*chain, address))

    def _document(self, address: str, chain: tuple[str, ...]) -> Source:
        if address in chain:
            raise Invalid(
                f"@context {address} includes itself", field="@context", rule="JSON-LD 1.1: no recursive inclusion"
            )
        if address not in self.documents:
            raise ContextUnavailable(f"@context {address} is not at hand", field="@context")
        return self.documents[address]

    def _add_local(self, local: dict[str, Any], chain: tuple[str, ...]) -> None:
        address = local.get("@import")
        if isinstance(address, str) and not is_core(address):
            imported = self._document(address, chain)
            if not isinstance(imported, dict) or "@import" in imported:
                rule = "JSON-LD 1.1: @import names one object, which imports nothing"
                raise Invalid(f"@context {address:.200} cannot be imported", field="@context", rule=rule)
            local, chain = {**imported, **local}, (*chain, address)
        self._define(local, chain)

    def _clear(self) -> None:
        """Nothing said before holds, the core aside; refused where something said before is protected."""
        if self.table.protected:
            raise Invalid("null would end protected terms", field="@context", rule="JSON-LD 1.1: @protected")
        self.table, self.waiting, self.around = Table(clears=True), {}, ()
        self.vocabulary = DEFAULT_VOCABULARY

    # -- terms --------------------------------------------------------------------------------------------------------

    def _define(self, local: dict[str, Any], chain: tuple[str, ...]) -> None:
        self.meter.count_terms(len(local))
        _flag(local, "@propagate")
        _flag(local, "@protected")
        if isinstance(local.get("@vocab"), str):
            self.vocabulary = local["@vocab"]
        done: set[str] = set()
        for term in local:
            if not term.startswith("@"):
                self._define_term(term, local, (), done)
                self._note_scope(term, local[term], chain)

    def _note_scope(self, term: str, definition: Any, chain: tuple[str, ...]) -> None:
        self.waiting.pop(term, None)
        if term in CORE_TERMS or term in CORE_ALIASES:
            return
        if isinstance(definition, dict) and "@context" in definition and self.table.terms.get(term) is not None:
            self.waiting[term] = (definition["@context"], chain)

    def _define_term(self, term: str, local: dict[str, Any], path: tuple[str, ...], done: set[str]) -> None:
        if term in path:
            raise Invalid(
                f"term {term!r:.80} defines itself", field="@context", rule="JSON-LD 1.1: no cyclic IRI mapping"
            )
        if len(path) >= CONTEXT_CHAIN:
            rule = f"at most {CONTEXT_CHAIN} definitions that rest on each other"
            raise Invalid(f"term {path[0]!r:.80} rests on too many others", field="@context", rule=rule)
        if term in done or (self.scoped and (term in CORE_TERMS or term in CORE_ALIASES)):
            return
        definition = local[term]
        iri = self._iri(term, definition, local, (*path, term), done)
        done.add(term)
        keeps = self.table.protected.get(term)
        before = self._as_is(term)
        self._set(term, definition, iri)
        rest = rest_of(definition)
        if keeps is not None and not self.scoped and (before, keeps) != (self._as_is(term), rest):
            rule = "JSON-LD 1.1: a protected term keeps its definition"
            raise Invalid(f"term {term!r:.80} is protected", field="@context", rule=rule)
        says = _flag(definition, "@protected") if isinstance(definition, dict) else None
        if (keeps is not None and not self.scoped) or (_flag(local, "@protected") if says is None else says):
            self.table.protected[term] = rest
        else:
            self.table.protected.pop(term, None)

    def _as_is(self, term: str) -> tuple[str | None, bool, str | None]:
        table = self.table
        return table.terms.get(term), term in table.prefixes, table.aliases.get(term)

    def _set(self, term: str, definition: Any, iri: str | None) -> None:
        table = self.table
        table.prefixes.discard(term)
        table.aliases.pop(term, None)
        if self.scoped:
            table.raw[term] = definition
        if iri is None or iri.startswith("@"):
            table.terms[term] = None
            if iri in _KEYWORDS:
                table.aliases[term] = iri
            return
        table.terms[term] = iri
        simple = isinstance(definition, str)
        if ":" not in term and (iri.endswith(_GEN_DELIMS) if simple else definition.get("@prefix") is True):
            table.prefixes.add(term)

    def _iri(
        self, term: str, definition: Any, local: dict[str, Any], path: tuple[str, ...], done: set[str]
    ) -> str | None:
        """The IRI or the keyword that a definition gives; None when it gives none."""
        if definition is None:
            return None
        value = definition.get("@id", term) if isinstance(definition, dict) else definition
        if value is None or (isinstance(definition, dict) and "@reverse" in definition):
            return None
        if not isinstance(value, str):
            raise Invalid(f"term {term!r:.80} has no IRI", field="@context", rule="JSON-LD 1.1: @id is a string")
        if value.startswith("@"):
            return _keyword(term, value)
        prefix, colon, rest = value.partition(":")
        wanted = value if value in local and value != term else prefix
        if wanted in local and value != term and not rest.startswith("//"):
            self._define_term(wanted, local, path, done)
        if not colon:
            known = self._known(value) if value != term else None
            return known or self.vocabulary + value
        start = None if rest.startswith("//") else self._start(prefix)
        return value if start is None else start + rest

    def _known(self, name: str) -> str | None:
        """The IRI or the keyword that a name stands for so far."""
        if name in self.table.terms:
            return self.table.terms[name] or self.table.aliases.get(name)
        if self.scoped and (name in CORE_TERMS or name in CORE_ALIASES):
            return CORE_TERMS.get(name) or CORE_ALIASES[name]
        found = next((table for table in self.around if name in table.terms), None)
        return None if found is None else found.terms[name] or found.aliases.get(name)

    def _start(self, prefix: str) -> str | None:
        """What a prefix stands for so far; None when the name is none."""
        if prefix in self.table.terms:
            return self.table.terms[prefix] if prefix in self.table.prefixes else None
        if prefix in CORE_PREFIXES:
            return CORE_TERMS[prefix]
        found = next((table for table in self.around if prefix in table.terms), None)
        return found.terms[prefix] if found is not None and prefix in found.prefixes else None


def _keyword(term: str, value: str) -> str:
    if value == "@context":
        rule = "JSON-LD 1.1: no alias of @context"
        raise Invalid(f"term {term!r:.80} is an alias of @context", field="@context", rule=rule)
    return value


def _flag(local: Mapping[str, Any], name: str) -> bool | None:
    found = local.get(name)
    if found is not None and not isinstance(found, bool):
        raise Invalid(f"{name} is true or false", field="@context", rule=f"JSON-LD 1.1: {name} is a boolean")
    return found
