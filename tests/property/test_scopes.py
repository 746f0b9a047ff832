"""Whatever a user's @context says in scoped contexts and aliases of keywords: an entity that is written in it and read
again is the same entity, and its names mean what a JSON-LD processor of others says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyld import jsonld

from shahar.model.context import Context, compile_context
from shahar.model.entity import Doc, parse_entity
from shahar.model.federation import recast
from shahar.model.render import View, entity
from shahar.model.terms import CORE_TERMS, DEFAULT_VOCABULARY
from shahar.values.errors import Invalid

PLAIN_WORDS = ["alpha", "beta", "gamma", "delta"]
PREFIXES = ["ex", "voc"]
WORDS = st.sampled_from(PLAIN_WORDS)
SPACES = ["https://a.example/", "https://b.example/ns#", "urn:space:"]
WHOLE = st.builds(lambda space, word: space + word, st.sampled_from(SPACES), WORDS)
PREFIXED = st.builds(lambda prefix, word: f"{prefix}:{word}", st.sampled_from([*PREFIXES, "ngsi-ld"]), WORDS)
KEYWORDS = st.sampled_from(["@type", "@id"])


def _local(terms: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    return terms | extra


def contexts(ids: st.SearchStrategy[str], bare: st.SearchStrategy[Any], extra: st.SearchStrategy[Any]) -> Any:
    """@contexts three scopes deep; `bare`: definitions without a scope."""

    def over(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        scoped = st.builds(lambda iri, scope: {"@id": iri, "@context": scope}, ids, inner)
        return st.builds(_local, st.dictionaries(WORDS, scoped | bare | scoped, min_size=1, max_size=4), extra)

    return over(over(over(st.builds(_local, st.dictionaries(WORDS, bare, max_size=3), extra))))


PROPAGATES = st.sampled_from([{}, {}, {"@propagate": True}, {"@propagate": False}])
EVERY_ID = WHOLE | PREFIXED | WORDS
EVERYTHING: st.SearchStrategy[Any] = st.one_of(
    EVERY_ID,
    st.none(),
    st.sampled_from(SPACES),
    KEYWORDS,
    st.sampled_from(["@graph", "@value"]),
    st.builds(lambda iri: {"@id": iri, "@prefix": True}, st.sampled_from(SPACES)),
    st.builds(lambda iri: {"@id": iri, "@protected": True}, EVERY_ID),
    st.builds(lambda iri: {"@id": iri, "@context": None}, EVERY_ID),
)
EXTRA = st.builds(
    lambda propagates, vocabulary, prefixes: propagates | vocabulary | prefixes,
    PROPAGATES,
    st.sampled_from([{}, {}, {"@vocab": SPACES[0]}, {"@vocab": SPACES[1]}]),
    st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(SPACES), max_size=2),
)
ANY_LOCAL = contexts(EVERY_ID, EVERYTHING, EXTRA)
ANY = ANY_LOCAL | st.lists(ANY_LOCAL, min_size=1, max_size=2)

IRIS = WHOLE | WORDS.map(DEFAULT_VOCABULARY.__add__)


def instances(depth: int) -> st.SearchStrategy[Any]:
    """One instance in the house's form, with attributes of its own."""
    subs = st.dictionaries(IRIS, instances(depth - 1).map(lambda one: [one]), max_size=2) if depth else st.just({})
    values: list[dict[str, Any]] = [{"type": "Property", "value": {"alpha": 1, "type": "x"}}]
    value = st.sampled_from(values) | IRIS.map(lambda iri: {"type": "VocabProperty", "vocab": iri})
    return st.builds(lambda one, attrs: one | ({"attrs": attrs} if attrs else {}), value, subs)


DOCS = st.builds(
    lambda kinds, attrs: {"id": "urn:e:1", "type": kinds, "attrs": attrs},
    st.lists(IRIS, min_size=1, max_size=2, unique=True),
    st.dictionaries(IRIS, instances(2).map(lambda one: [one]), max_size=3),
)


def compiled(source: Any) -> Context | None:
    """The context; None when it is refused."""
    try:
        return compile_context(source, {})
    except Invalid:
        event("refused")
        return None


def unless_protected(write: Callable[[], Any]) -> Any:
    """What is written; None when the scope of one type is against what that of another protects."""
    try:
        return write()
    except Invalid as problem:
        if "protected" not in problem.detail:
            raise
        event("protected")
        return None


@given(ANY, DOCS, st.sampled_from(["normalized", "concise"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_entity_that_is_written_and_read_again_is_the_same(source: Any, doc: Doc, form: Any) -> None:
    context = compiled(source)
    if context is None:
        return
    body = unless_protected(lambda: entity(doc, View(context, form)))
    if body is None:
        return
    event("plain" if context.plain else "scoped")
    assert parse_entity(body, context) == doc, body


@given(ANY, ANY, DOCS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_entity_that_is_told_in_another_context_is_the_same(one: Any, other: Any, doc: Doc) -> None:
    old, new = compiled(one), compiled(other)
    if old is None or new is None:
        return
    body = unless_protected(lambda: recast(entity(doc, View(old)), old, new))
    assert body is None or parse_entity(body, new) == doc, body


# -- what others say --------------------------------------------------------------------------------------------------

NGSI = CORE_TERMS["ngsi-ld"]
CORE: dict[str, Any] = {
    "@vocab": DEFAULT_VOCABULARY,
    "id": "@id",
    "type": "@type",
    "ngsi-ld": {"@id": NGSI, "@prefix": True},
    "Property": NGSI + "Property",
    "VocabProperty": NGSI + "VocabProperty",
    "value": {"@id": CORE_TERMS["value"], "@type": "@json"},
    "vocab": {"@id": CORE_TERMS["vocab"], "@type": "@vocab"},
}
COMMON_ID = WHOLE | PREFIXED
COMMON = contexts(COMMON_ID, COMMON_ID | KEYWORDS, PROPAGATES)


def _not_itself(source: Any) -> Any:
    """Without the terms that a scope gives another meaning than that of the term in which it stands: the processor
    loses the scope then, when a type's scope holds besides."""
    return {
        term: each | {"@context": _not_itself({key: one for key, one in each["@context"].items() if key != term})}
        if isinstance(each, dict) and "@context" in each
        else each
        for term, each in source.items()
    }


ROOTS = st.builds(
    lambda local, spaces: _not_itself(local) | {"ex": spaces[0], "voc": spaces[1], "@propagate": True},
    COMMON,
    st.permutations(SPACES),
)
"""Without @vocab and prefixes in scopes, which we read otherwise, and said so (model/definitions); at the root
@propagate would end the core that is written into it here. A scope of null is left to the unit tests: the processor
forgets behind one of a type what held before."""

NAMES = WORDS | PREFIXED


def bodies(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """An attribute as it is told."""
    value = st.just({"type": "Property", "value": {"alpha": 1}}) | NAMES.map(
        lambda name: {"type": "VocabProperty", "vocab": name}
    )
    subs = st.dictionaries(NAMES, bodies(depth - 1), min_size=depth - 1, max_size=2) if depth else st.just({})
    return st.builds(lambda one, attrs: attrs | one, value, subs)


ENTITIES = st.builds(
    lambda kinds, attrs: attrs | {"id": "urn:e:1", "type": kinds},
    st.lists(WORDS, min_size=1, max_size=2, unique=True),
    st.dictionaries(NAMES, bodies(2), min_size=1, max_size=3),
)


def with_core(source: Any) -> Any:
    """The context with the core behind everything that it says, in scopes too."""
    inner = {
        term: each | {"@context": with_core(each["@context"])}
        if isinstance(each, dict) and "@context" in each
        else each
        for term, each in source.items()
    }
    return {"@version": 1.1} | inner | CORE


def tree(doc: Any) -> Any:
    """Types and names of our document."""
    found = {iri: [tree(one) for one in listed] for iri, listed in doc.get("attrs", {}).items()}
    kinds = doc["type"] if isinstance(doc["type"], list) else [NGSI + doc["type"]]
    return found | {"@type": sorted(kinds)} | ({"vocab": doc["vocab"]} if "vocab" in doc else {})


def tree_of_others(node: Any) -> Any:
    """The same of an expanded JSON-LD document."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        if name == "@type":
            found[name] = sorted(set(value))
        elif name == CORE_TERMS["vocab"]:
            found["vocab"] = value[0]["@id"]
        elif name not in {"@id", CORE_TERMS["value"]}:
            found[name] = [tree_of_others(one) for one in value]
    return found


def _twice(node: Any) -> bool:
    listed = [value for name, value in node.items() if name not in {"@type", "vocab"}]
    return any(len(value) > 1 or _twice(value[0]) for value in listed)


@given(ROOTS, ENTITIES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_names_in_scopes_mean_what_a_json_ld_processor_says(source: Any, body: dict[str, Any]) -> None:
    try:
        doc = parse_entity(body, compile_context(source, {}))
    except Invalid:
        event("refused here")
        return
    try:
        (expanded,) = jsonld.expand({"@context": with_core(source), **body})
    except jsonld.JsonLdError:
        event("refused there")
        return
    theirs = tree_of_others(expanded)
    if _twice(theirs):
        event("two names of one sub-attribute")
        return
    event("compared")
    assert tree(doc) == theirs
