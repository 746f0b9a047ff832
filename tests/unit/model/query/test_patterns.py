"""Regular expressions of strangers: what they mean, what is refused, and that none can hang."""

from __future__ import annotations

import time

import pytest

from shahar.model.query.patterns import Pattern
from shahar.values.errors import Invalid


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("iff", "Eiffel", True),
        ("^Eiffel", "Eiffel Tower", True),
        ("^Tower", "Eiffel Tower", False),
        ("Tower$", "Eiffel Tower", True),
        ("Eiffel$", "Eiffel Tower", False),
        ("^$", "", True),
        ("^$", "a", False),
        ("$", "a", True),
        ("urn:ngsi-ld:Building:.*", "urn:ngsi-ld:Building:1", True),
        ("urn:ngsi-ld:Building:.*", "urn:ngsi-ld:Vehicle:1", False),
        (".*downtown$", "urn:ngsi-ld:Parking:downtown", True),
        ("a.c", "a\nc", True),
        (r"a\.c", "abc", False),
        ("ab*c", "ac", True),
        ("ab+c", "ac", False),
        ("ab?c", "abbc", False),
        ("^a{2}$", "aa", True),
        ("^a{2}$", "aaa", False),
        ("^a{2,}$", "aaaa", True),
        ("^a{,2}$", "aaa", False),
        ("^a{1,3}$", "aaaa", False),
        ("^(ab|cd)+$", "abcdab", True),
        ("^(ab|cd)+$", "abc", False),
        ("^(?:ab)*?$", "abab", True),
        ("a|^b", "cb", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[]x]", "]", True),
        ("[a-]", "-", True),
        ("[[:digit:][:upper:]]$", "x7", True),
        ("[[:alpha:]]", "7", False),
        (r"^\d+\s\w+$", "12 Моск", True),
        (r"^\D$", "7", False),
        (r"[\d.]{3}", "1.5", True),
        (r"^[\D]$", "5", False),
        ("(?i)тошкент", "ТОШКЕНТ", True),
        ("(?i)[a-c]$", "B", True),
        ("O‘zbek", "O‘zbekiston", True),
        ("x{y}", "x{y}", True),
        ("()", "", True),
        ("a||b", "", True),
    ],
)
def test_a_pattern_is_found_where_it_should_be(pattern: str, text: str, expected: bool) -> None:
    assert Pattern(pattern).matches(text) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a**",
        "a+*",
        "a{2}{3}",
        "*a",
        "^*",
        "(",
        ")",
        "(a",
        "[a",
        "[",
        "[z-a]",
        "[a-[:digit:]]",
        "[[:nothing:]]",
        "a{3,2}",
        "a{999}",
        r"(a)\1",
        r"\b",
        "\\",
        "(?=a)",
        "(?P<x>a)",
        "a(?i)b",
        "a" * 257,
        "(" * 17 + ")" * 17,
        "((a{200}){200}){200}",
        "(.{250}){3}",
    ],
)
def test_what_is_no_pattern_of_ours_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid) as refused:
        Pattern(pattern, "idPattern")
    assert refused.value.field == "idPattern"


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*)*x", ".*.*.*.*.*.*x", "(a*)*(a*)*$b", "^(a?){100}a{100}$"]
)
def test_no_pattern_hangs(pattern: str) -> None:
    wanted = Pattern(pattern)
    started = time.perf_counter()
    wanted.matches("a" * 20_000 + "!")
    assert time.perf_counter() - started < 2


def test_the_sets_that_are_remembered_stay_bounded() -> None:
    wanted = Pattern("^[^x]*x")
    for start in range(0, 60_000, 500):
        wanted.matches("".join(map(chr, range(0x4E00 + start % 20_000, 0x4E00 + start % 20_000 + 500))))
    assert wanted.matches("日x")
    assert wanted._room >= 0


def test_patterns_of_one_source_are_equal() -> None:
    assert Pattern("a.b") == Pattern("a.b")
    assert hash(Pattern("a.b")) == hash(Pattern("a.b"))
    assert Pattern("a.b") != Pattern("a.c")
    assert Pattern("a.b").source == "a.b"
