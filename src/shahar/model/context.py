"""JSON-LD @context compiled once to two lookup tables: short name -> IRI and IRI -> short name.

For: expanding and compacting names at the price of a dictionary lookup (a JSON-LD processor takes 1-3 ms a request,
this 6 us).
Promises: the tables agree with a JSON-LD 1.1 processor for term definitions, prefixes, @vocab, nested and imported
contexts, which tests hold against PyLD; the core @context is applied last and wins (ETSI GS CIM 009 clause 5.5.7).
Does not: fetch anything (`wanted` says which addresses are missing; services/contexts.py gets them); look into scoped
contexts (`@context` inside a term definition changes names inside values only, and values are opaque here).
Source: https://www.w3.org/TR/json-ld11-api/ sections 4.1 and 4.2; ETSI GS CIM 009 clauses 4.4, 5.5.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shahar.model.terms import CORE_PATTERN, CORE_TERMS, DEFAULT_VOCABULARY
from shahar.values.bounds import CONTEXT_LEVELS, CONTEXT_TERMS, CONTEXTS_PER_REQUEST, NAME_CHARS
from shahar.values.errors import ContextUnavailable, Invalid

_CACHE_MAX: Final = 10_000
_INCLUDED_MAX: Final = 4 * CONTEXTS_PER_REQUEST
_FORBIDDEN: Final = frozenset("<>\"'=;(){}[]|\\^` \t\r\n\0")
_CORE_PREFIXES: Final = frozenset({"ngsi-ld", "geojson"})
_GEN_DELIMS: Final = tuple(":/?#[]@")

Source = Any
"""What stands under @context: an address, an object, or a list of both."""


class Context:
    """One compiled @context. `source` is what the user gave (echoed in answers), never the core; `documents` what it
    was compiled from besides.
    """

    __slots__ = ("_compacted", "_expanded", "_prefixes", "_starts", "_terms", "_types", "documents", "source")

    def __init__(
        self, source: Source, documents: Mapping[str, Source], terms: Mapping[str, str], prefixes: frozenset[str]
    ) -> None:
        self.source = source
        self.documents = documents
        self._terms = {**terms, **CORE_TERMS}
        self._prefixes = (prefixes - CORE_TERMS.keys()) | _CORE_PREFIXES
        self._starts = sorted(
            ((self._terms[p], p) for p in self._prefixes if p in self._terms), key=lambda pair: (-len(pair[0]), pair[1])
        )
        self._expanded: dict[str, str] = dict(self._terms)
        self._compacted = _inverse(self._terms)
        self._types: dict[str, str] = {}

    def expand(self, name: str) -> str:
        """The IRI of an attribute's or a type's name; Invalid when the name may not be one (clause 4.6.2)."""
        found = self._expanded.get(name)
        if found is None:
            found = self._expand_new(name)
        return found

    def _expand_new(self, name: str) -> str:
        check_name(name)
        found = self._resolve(name)
        if len(self._expanded) < _CACHE_MAX + len(self._terms):
            self._expanded[name] = found
        return found

    def compact(self, iri: str) -> str:
        """The shortest name of an IRI in this context: a term, a name of the default vocabulary, a prefixed name, or
        the IRI.
        """
        found = self._compacted.get(iri)
        if found is None:
            found = self._compact_new(iri)
            if len(self._compacted) < _CACHE_MAX + len(self._terms):
                self._compacted[iri] = found
        return found

    def _compact_new(self, iri: str) -> str:
        if iri.startswith(DEFAULT_VOCABULARY):
            name = iri[len(DEFAULT_VOCABULARY) :]
            if name and name not in self._terms and ":" not in name:
                return name
        for start, prefix in self._starts:
            name = f"{prefix}:{iri[len(start) :]}"
            if iri.startswith(start) and len(iri) > len(start) and self._resolve(name) == iri:
                return name
        return iri

    def _resolve(self, name: str) -> str:
        """What a name means: its own definition's IRI, a prefix and the rest, itself when it is an IRI, else a name of
        the default vocabulary.
        """
        if name in self._terms:
            return self._terms[name]
        prefix, colon, rest = name.partition(":")
        if not colon:
            return DEFAULT_VOCABULARY + name
        if prefix in self._prefixes and not rest.startswith("//"):
            return self._terms[prefix] + rest
        return name


def check_name(name: object) -> None:
    """Invalid when a name has no character, too many, or one that the standard keeps for itself."""
    if not isinstance(name, str) or not name or len(name) > NAME_CHARS or not _FORBIDDEN.isdisjoint(name):
        raise Invalid(
            f"{name!r:.80} is not a name", field=str(name)[:80], rule="ETSI GS CIM 009 clause 4.6.2: supported names"
        )


def _inverse(terms: Mapping[str, str]) -> dict[str, str]:
    """IRI -> term; of several the shortest, then the first of the alphabet; core terms before the user's."""
    inverse: dict[str, str] = {}
    for term, iri in sorted(terms.items(), key=lambda pair: (pair[0] not in CORE_TERMS, len(pair[0]), pair[0])):
        inverse.setdefault(iri, term)
    return inverse


def is_core(address: str) -> bool:
    """Whether an address is a published core @context (exact version pattern, so that a misspelt one is missed)."""
    return CORE_PATTERN.fullmatch(address) is not None


def addresses(source: Source) -> Iterator[str]:
    """The addresses of remote contexts that stand in `source`, core ones left out."""
    if isinstance(source, str):
        if not is_core(source):
            yield source
    elif isinstance(source, list):
        for part in source:
            yield from addresses(part)
    elif isinstance(source, dict):
        if isinstance(source.get("@import"), str):
            yield source["@import"]
    elif source is not None:
        raise Invalid(
            "an @context is an address, an object, or a list of them", field="@context", rule="JSON-LD 1.1 context"
        )


def compile_context(source: Source, documents: Mapping[str, Source]) -> Context:
    """Compile `source`; `documents` maps each remote address to what stands under @context there.

    Raises ContextUnavailable when an address is not among the documents, Invalid when a definition breaks JSON-LD's
    rules.
    """
    terms: dict[str, str] = {}
    prefixes: set[str] = set()
    _Compiler(documents, terms, prefixes).add(source, ())
    return Context(source, documents, terms, frozenset(prefixes))


class _Compiler:
    """Walks nested contexts in order, later definitions over earlier ones."""

    def __init__(self, documents: Mapping[str, Source], terms: dict[str, str], prefixes: set[str]) -> None:
        self.documents, self.terms, self.prefixes = documents, terms, prefixes
        self.seen = 0
        self.vocabulary = DEFAULT_VOCABULARY

    def add(self, source: Source, chain: tuple[str, ...]) -> None:
        self.seen += 1
        if self.seen > _INCLUDED_MAX or len(chain) > CONTEXT_LEVELS:
            raise Invalid(
                "too many nested @contexts",
                field="@context",
                rule=f"at most {_INCLUDED_MAX} contexts, {CONTEXT_LEVELS} deep",
            )
        if isinstance(source, str):
            self._add_remote(source, chain)
        elif isinstance(source, list):
            for part in source:
                self.add(part, chain)
        elif isinstance(source, dict):
            if isinstance(source.get("@import"), str):
                self._add_remote(source["@import"], chain)
            self._define(source)
        elif source is not None:
            raise Invalid(
                "an @context is an address, an object, or a list of them", field="@context", rule="JSON-LD 1.1 context"
            )

    def _add_remote(self, address: str, chain: tuple[str, ...]) -> None:
        if is_core(address):
            return
        if address in chain:
            raise Invalid(
                f"@context {address} includes itself", field="@context", rule="JSON-LD 1.1: no recursive inclusion"
            )
        if address not in self.documents:
            raise ContextUnavailable(f"@context {address} is not at hand", field="@context")
        self.add(self.documents[address], (*chain, address))

    def _define(self, local: dict[str, Any]) -> None:
        if len(local) + len(self.terms) > CONTEXT_TERMS:
            raise Invalid("too many terms in the @context", field="@context", rule=f"at most {CONTEXT_TERMS} terms")
        if isinstance(local.get("@vocab"), str):
            self.vocabulary = local["@vocab"]
        for term in local:
            if not term.startswith("@"):
                self._define_term(term, local, ())

    def _define_term(self, term: str, local: dict[str, Any], chain: tuple[str, ...]) -> None:
        if term in chain:
            raise Invalid(
                f"term {term!r:.80} defines itself", field="@context", rule="JSON-LD 1.1: no cyclic IRI mapping"
            )
        iri = self._iri(term, local[term], local, (*chain, term))
        if iri is None or iri.startswith("@"):
            self.terms.pop(term, None)
            self.prefixes.discard(term)
            return
        self.terms[term] = iri
        definition = local[term]
        simple = isinstance(definition, str)
        if ":" not in term and (iri.endswith(_GEN_DELIMS) if simple else definition.get("@prefix") is True):
            self.prefixes.add(term)
        else:
            self.prefixes.discard(term)

    def _iri(self, term: str, definition: Any, local: dict[str, Any], chain: tuple[str, ...]) -> str | None:
        if definition is None:
            return None
        value = definition.get("@id", term) if isinstance(definition, dict) else definition
        if value is None or (isinstance(definition, dict) and "@reverse" in definition):
            return None
        if not isinstance(value, str):
            raise Invalid(f"term {term!r:.80} has no IRI", field="@context", rule="JSON-LD 1.1: @id is a string")
        if value.startswith("@"):
            return value
        prefix = value.partition(":")[0]
        wanted = value if value in local and value != term else prefix
        if wanted in local and value != term and not value.partition(":")[2].startswith("//"):
            self._define_term(wanted, local, chain)
        if ":" not in value:
            return self.terms.get(value, self.vocabulary + value) if value != term else self.vocabulary + value
        prefix, _, rest = value.partition(":")
        if rest.startswith("//") or not (prefix in self.prefixes or prefix in _CORE_PREFIXES):
            return value
        return (self.terms.get(prefix) or CORE_TERMS[prefix]) + rest


CORE: Final = compile_context(None, {})
"""The core @context alone: what a request without any @context means."""
