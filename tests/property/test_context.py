"""Whatever a user's @context says: a name that is expanded, compacted and expanded again means the same, and means what
a JSON-LD processor of others says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyld import jsonld

from shahar.model.context import CORE, compile_context
from shahar.model.terms import CORE_TERMS, DEFAULT_VOCABULARY
from shahar.values.errors import Invalid

WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta", "ex", "voc"])
SPACES = st.sampled_from(["https://a.example/", "https://b.example/ns#", "urn:space:", "https://a.example/x/"])
WHOLE = st.builds(lambda space, word: space + word, SPACES, WORDS)
PREFIXED = st.builds(lambda prefix, word: f"{prefix}:{word}", st.sampled_from(["ex", "voc", "ngsi-ld"]), WORDS)
IDS = WHOLE | PREFIXED | WORDS
DEFINITIONS: st.SearchStrategy[Any] = st.one_of(
    IDS,
    SPACES,
    st.none(),
    st.builds(lambda iri: {"@id": iri}, IDS),
    st.builds(lambda iri: {"@id": iri, "@type": "@id"}, IDS),
    st.builds(lambda iri: {"@id": iri, "@prefix": True}, SPACES),
    st.just({"@type": "http://www.w3.org/2001/XMLSchema#dateTime"}),
)
LOCAL = st.builds(
    lambda terms, vocabulary: terms | ({"@vocab": vocabulary} if vocabulary else {}),
    st.dictionaries(WORDS, DEFINITIONS, max_size=6),
    st.none() | SPACES,
)
CONTEXTS = LOCAL | st.lists(LOCAL, min_size=1, max_size=3)
NAMES = WORDS | PREFIXED | WHOLE | st.sampled_from(["location", "observedAt", "unknown", "un:known", "a.b", "type"])


@given(CONTEXTS, st.lists(NAMES, min_size=1, max_size=8))
@settings(max_examples=400)
def test_a_name_that_is_compacted_means_what_it_meant(context: Any, names: list[str]) -> None:
    try:
        compiled = compile_context(context, {})
    except Invalid:
        return  # definitions in a circle
    for name in names:
        iri = compiled.expand(name)
        short = compiled.compact(iri)
        assert compiled.expand(short) == iri, (name, iri, short)
        assert compiled.compact(compiled.expand(short)) == short


@given(CONTEXTS)
@settings(max_examples=200)
def test_of_several_names_for_one_thing_one_is_written(context: Any) -> None:
    """The same whatever the order of the definitions, and a name that the context has where it has one."""
    try:
        compiled = compile_context(context, {})
    except Invalid:
        return
    locals_ = context if isinstance(context, list) else [context]
    terms = {term for local in locals_ for term in local if not term.startswith("@")}
    turned = [dict(reversed(local.items())) for local in locals_]
    again = compile_context(turned, {})
    for term in terms:
        iri = compiled.expand(term)
        assert again.expand(term) == iri
        assert again.compact(iri) == compiled.compact(iri)


@given(CONTEXTS, NAMES)
@settings(max_examples=300)
def test_a_name_means_what_a_json_ld_processor_says(context: Any, name: str) -> None:
    try:
        mine = compile_context(context, {}).expand(name)
    except Invalid:
        return
    if name in CORE_TERMS or (CORE.expand(name) != DEFAULT_VOCABULARY + name and name.partition(":")[0] == "ngsi-ld"):
        return  # the core's own; PyLD is asked about the user's part only
    locals_ = context if isinstance(context, list) else [context]
    document = {"@context": [{"ngsi-ld": CORE_TERMS["ngsi-ld"]}, *locals_, {"@vocab": DEFAULT_VOCABULARY}], name: 1}
    try:
        found = list(jsonld.expand(document)[0])
    except (jsonld.JsonLdError, IndexError):
        return  # it says that the context is no JSON-LD, or that the name means nothing
    assert found == [mine], (name, document)
