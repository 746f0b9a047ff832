"""@context compiled to tables: agrees with a JSON-LD processor on what names mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyld import jsonld

from shahar.model.context import CORE, compile_context, is_core
from shahar.values.errors import ContextUnavailable, Invalid

DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"


def check(context: Any, name: str, iri: str) -> None:
    """Expanding `name` gives `iri`, and compacting the IRI gives the name back."""
    compiled = compile_context(context, {})
    assert compiled.expand(name) == iri
    assert compiled.compact(iri) == name


def test_a_term_is_its_iri() -> None:
    check({"speed": "https://a.example/speed"}, "speed", "https://a.example/speed")


def test_a_name_that_nobody_defines_falls_to_the_default_vocabulary() -> None:
    check(None, "speed", DEFAULT + "speed")


def test_a_core_term_cannot_be_redefined() -> None:
    check({"location": "https://a.example/place"}, "location", "https://uri.etsi.org/ngsi-ld/location")


def test_a_prefix_makes_names() -> None:
    check({"ex": "https://a.example/"}, "ex:speed", "https://a.example/speed")


def test_a_definition_may_be_an_object() -> None:
    check({"speed": {"@id": "https://a.example/speed", "@type": "@id"}}, "speed", "https://a.example/speed")


def test_a_definition_may_use_a_prefix_that_is_defined_later() -> None:
    check({"speed": "ex:speed", "ex": "https://a.example/"}, "speed", "https://a.example/speed")


def test_a_later_context_wins() -> None:
    check([{"a": "https://one.example/a"}, {"a": "https://two.example/a"}], "a", "https://two.example/a")


def test_a_term_of_the_default_vocabulary_hidden_by_the_user_is_written_with_its_prefix() -> None:
    compiled = compile_context({"speed": "https://a.example/speed"}, {})
    assert compiled.compact(DEFAULT + "speed") == "ngsi-ld:default-context/speed"


def test_a_remote_context_is_taken_from_the_documents() -> None:
    documents = {
        "https://a.example/c": ["https://a.example/d", {"x": "https://x.example/x"}],
        "https://a.example/d": {"y": "https://y.example/y"},
    }
    compiled = compile_context("https://a.example/c", documents)
    assert (compiled.expand("x"), compiled.expand("y")) == ("https://x.example/x", "https://y.example/y")


def test_a_missing_document_is_the_peers_fault() -> None:
    with pytest.raises(ContextUnavailable):
        compile_context("https://a.example/none", {})


@pytest.mark.parametrize(
    "context",
    [
        5,
        {"a": "b:c", "b": "a:d"},
        {"a": 5},
        {"a": {"@id": 5}},
        [[[[[[[[[[[[7]]]]]]]]]]]],
    ],
)
def test_nonsense_is_refused(context: Any) -> None:
    with pytest.raises(Invalid):
        compile_context(context, {})


def test_a_context_that_includes_itself_is_refused() -> None:
    with pytest.raises(Invalid):
        compile_context("https://a.example/c", {"https://a.example/c": "https://a.example/c"})


@pytest.mark.parametrize("name", ["", "a b", "a<b", 'a"b', "a\0b", "a" * 2000])
def test_a_name_with_forbidden_characters_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        CORE.expand(name)


@pytest.mark.parametrize(
    ("address", "core"),
    [
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld", True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.3.jsonld", True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld", True),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld", False),
        ("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-contextXv1.9.jsonld", False),
    ],
)
def test_core_contexts_are_known_by_their_exact_pattern(address: str, core: bool) -> None:
    assert is_core(address) is core


words = st.from_regex(r"[a-z]{2,6}", fullmatch=True)
iris = words.map(lambda word: f"https://example.org/{word}/")


@given(st.dictionaries(words.filter(lambda word: word not in {"id", "type"}), iris, min_size=1, max_size=6), words)
def test_names_mean_what_a_json_ld_processor_says(terms: dict[str, str], name: str) -> None:
    compiled = compile_context(terms, {})
    known = compiled.expand(name)
    if known.startswith("https://uri.etsi.org/ngsi-ld/") and name not in terms:
        return  # the core's own; PyLD is asked about the user's part only
    expanded = jsonld.expand({"@context": [{"@vocab": DEFAULT}, terms], name: 1})
    assert list(expanded[0]) == [known]
