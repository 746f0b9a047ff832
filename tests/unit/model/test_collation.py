"""Collations: the order of texts for readers of Uzbek, Russian, German; strengths and other keys of RFC 6067."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model import collation
from shahar.values.errors import Invalid, NotCarried


def arranged(name: str, words: str) -> str:
    """The words of a line in the order of a collation, whatever order they come in."""
    listed = words.split()
    random.Random(len(words)).shuffle(listed)
    return " ".join(sorted(listed, key=collation.parse(name).key))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("und", "7 a A á Á b Zulu zulus а ё Ё й я"),
        ("und-x-icu", "a A b B"),
        ("en-US", "cote coté côte côté"),
        ("ru", "7 арбуз ёлка ель йод яблоко apple"),
        ("ru", "все всё"),
        ("uz", "gul nok oy zina o‘rik Oʻzbek gʻisht shahar chiroq ш"),
        ("uz-Latn-UZ", "sabr suv shox"),
        ("uz-Cyrl", "елка ёлка ялла ўрик қовун ғор ҳовли apple"),
        ("de", "Ad Ädikt Af"),
        ("de-u-co-phonebk", "Ad Ae Ädikt Af"),
        ("und-u-kf-upper", "A a Á á B"),
        ("und-u-kn", "a9 a10 a010b a100"),
        ("und-u-kn-true-kf-upper", "No2 no2 No10"),
        ("und-u-ka-shifted", "co-op co_op coop cooq"),
        ("und_u_ks_level3", "a A b"),
    ],
)
def test_words_stand_where_a_reader_looks_for_them(name: str, words: str) -> None:
    if "shifted" in name:
        keys = [collation.parse(name).key(word) for word in words.split()]
        assert keys[0] == keys[1] == keys[2] < keys[3]
    else:
        assert arranged(name, words) == words


@pytest.mark.parametrize(
    ("strength", "same", "other"),
    [
        ("level1", "Élan elan", "elen"),
        ("level1-kc", "élan elan", "Elan"),
        ("level2", "Elan elan", "élan"),
        ("level2-kc-true", "elan elan", "Elan"),
        ("level3", "elan elan", "Elan"),
        ("identic", "elan elan", "elan\u200d"),
    ],
)
def test_a_strength_says_what_makes_a_difference(strength: str, same: str, other: str) -> None:
    key = collation.parse(f"und-u-ks-{strength}").key
    one, two = same.split()
    assert key(one) == key(two) != key(other)


@pytest.mark.parametrize("name", ["", "-", "e", "de-u", "de DE", "en.utf8", "und-u-", "x" * 9, "дe"])
def test_what_is_no_name_of_a_collation_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        collation.parse(name)


@pytest.mark.parametrize(
    "name", ["sv", "zh-u-co-pinyin", "en-u-co-phonebk", "und-u-ks-level9", "und-u-kb", "und-u-kr-latn", "und-u-kn-x1"]
)
def test_a_collation_that_is_not_here_says_so(name: str) -> None:
    with pytest.raises(NotCarried) as problem:
        collation.parse(name)
    assert problem.value.field == "collation"


@given(
    st.lists(st.text(), max_size=5),
    st.sampled_from(["und", "uz", "uz-Cyrl", "ru", "de-u-co-phonebk-kn", "und-u-ks-identic"]),
)
def test_any_texts_have_an_order(texts: list[str], name: str) -> None:
    key = collation.parse(name).key
    once = sorted(texts, key=key)
    assert [key(text) for text in sorted(once, key=key)] == [key(text) for text in once]
