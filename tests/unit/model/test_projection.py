"""Pick and omit: what an expression shows, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model.projection import LEVELS_MAX, Projection, parse
from shahar.values.errors import Invalid


def expand(name: str) -> str:
    return "x:" + name


def picking(*names: str, **below: Projection) -> Projection:
    """A projection that picks these names, and below some of them others."""
    return Projection(frozenset(names), below={"x:" + name: part for name, part in below.items()})


@pytest.mark.parametrize(
    ("pick", "omit", "expected"),
    [
        ("id", None, picking("id")),
        ("id,name", None, picking("id", "x:name")),
        ("id|name", None, picking("id", "x:name")),
        ("a{id,b}", None, picking("x:a", a=picking("id", "x:b"))),
        ("a{b},c", None, picking("x:a", "x:c", a=picking("x:b"))),
        ("a{b{c}}", None, picking("x:a", a=picking("x:b", b=picking("x:c")))),
        (None, "type,name", Projection(omit=frozenset({"type", "x:name"}))),
        (None, "a{b}", Projection(below={"x:a": Projection(omit=frozenset({"x:b"}))})),
        ("a,b", "c", Projection(frozenset({"x:a", "x:b"}), frozenset({"x:c"}))),
        (
            "a{b,c}",
            "a{d}",
            picking("x:a", a=Projection(frozenset({"x:b", "x:c"}), frozenset({"x:d"}))),
        ),
    ],
)
def test_an_expression_says_what_is_shown(pick: str | None, omit: str | None, expected: Projection) -> None:
    assert parse(pick, omit, expand) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a,",
        ",a",
        "a,,b",
        "a b",
        "a{",
        "a{b",
        "a{b,",
        "a{}",
        "a{,b}",
        "a{{b}",
        "{a}",
        "a}",
        "a{b}c",
        "a{b}{c}",
        "a,a",
    ],
)
def test_what_is_no_expression_is_refused_by_its_name(text: str) -> None:
    for field, pick, omit in (("pick", text, None), ("omit", None, text)):
        with pytest.raises(Invalid) as caught:
            parse(pick, omit, expand)
        assert caught.value.field == field


@pytest.mark.parametrize(("pick", "omit"), [("a", "a"), ("id", "id"), ("a{b}", "a"), ("a{b}", "a{b}")])
def test_a_member_is_not_both_picked_and_omitted(pick: str, omit: str) -> None:
    with pytest.raises(Invalid):
        parse(pick, omit, expand)


def test_the_depth_is_that_of_the_deepest_braces() -> None:
    assert parse("a,b{c{d}},e{f}", None, expand).depth == 2
    assert parse("a{" * LEVELS_MAX + "a" + "}" * LEVELS_MAX, None, expand).depth == LEVELS_MAX


def test_what_is_nested_beyond_the_bound_is_refused() -> None:
    with pytest.raises(Invalid):
        parse("a{" * 5_000 + "a" + "}" * 5_000, None, expand)


@given(st.text(alphabet="ab{},| ", max_size=30))
def test_any_text_is_a_projection_or_invalid(text: str) -> None:
    try:
        found = parse(text, None, expand)
    except Invalid:
        return
    assert found.pick
