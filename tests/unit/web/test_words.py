"""The words of the pages: complete in every language, and numbers, moments and ages as each language writes them."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from scripts.words import document
from shahar.model import system
from shahar.values.instants import parse
from shahar.web.pages import words
from shahar.web.pages.words import LANGUAGES

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "src" / "shahar" / "web"
ZONE = "Asia/Tashkent"
AT = parse("2026-11-22T09:32:00Z")
FORMS = {"uz": 1, "uz-Cyrl": 1, "ru": 3, "kaa": 1, "en": 2}


def texts(language: str) -> dict[str, tuple[str, ...]]:
    return words.texts_of(words.read(words.FOLDER / f"{language}.po"))


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_pages_speak_the_languages_of_the_house_in_their_order() -> None:
    assert tuple(LANGUAGES) == tuple(words.SHORT) == system.LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_in_every_language_with_all_its_plural_forms(language: str) -> None:
    expected, found = texts("uz"), texts(language)
    assert sorted(found) == sorted(expected)
    for key, forms in found.items():
        assert len(forms) == (FORMS[language] if _is_plural(key) else 1), key
        assert all(text.strip() == text and text for text in forms), key


def _is_plural(key: str) -> bool:
    return len(texts("ru")[key]) > 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_has_the_same_places_in_every_language(language: str) -> None:
    english = {key: places("".join(forms)) for key, forms in texts("en").items()}
    english["now.sentence"] = {"what", "word"}  # English alone writes the subject small within its sentence
    for key, forms in texts(language).items():
        if (language, key) != ("en", "now.sentence"):
            assert all(places(text) == english[key] for text in forms), key


@pytest.mark.parametrize("language", ["uz", "kaa"])
def test_letters_with_apostrophes_are_written_with_the_letters_of_the_alphabet(language: str) -> None:
    for key, forms in texts(language).items():
        assert not re.search(r"['`‘’]", "".join(forms)), key


@pytest.mark.parametrize("language", ["uz-Cyrl", "ru"])
def test_a_cyrillic_text_has_no_latin_letter_among_its_own(language: str) -> None:
    for key, forms in texts(language).items():
        assert not re.search(r"[а-яёўқғҳ][A-Za-z]|[A-Za-z][а-яёўқғҳ]", "".join(forms), re.IGNORECASE), key


def test_every_key_that_a_page_asks_for_is_there_and_every_key_is_asked_for() -> None:
    sources = [path.read_text("utf-8") for path in [*PAGES.glob("*.py"), *(PAGES / "pages").glob("*.[hp]*")]]
    said = set(re.findall(r"[\"']([a-z]+(?:\.[a-z0-9-]+)+)[\"']", "\n".join(sources)))
    starts = tuple(found for found in re.findall(r"[\"']([a-z]+(?:\.[a-z]+)*\.)(?:[\"']|\{)", "\n".join(sources)))
    known = set(texts("uz"))
    asked = {key for key in re.findall(r"\bt\([\"']([a-z.]+[a-z])[\"']", "\n".join(sources)) if "." in key}
    assert sorted(asked - known) == []
    assert sorted(key for key in known - said if "." in key and not key.startswith(starts)) == []


def test_a_key_that_is_missing_is_an_error_and_never_an_empty_text() -> None:
    with pytest.raises(KeyError):
        words.words("uz")("no.such.key")
    with pytest.raises(KeyError):
        words.words("fr")


def test_a_text_without_arguments_keeps_its_places() -> None:
    assert words.words("en")("signin.as") == "You are signed in as {name}."
    assert words.words("en")("signin.as", name="Ali {name}") == "You are signed in as Ali {name}."


@pytest.mark.parametrize(
    ("language", "value", "expected"),
    [
        ("uz", 1234567.8, "1 234 567,8"),
        ("uz-Cyrl", 1234567.8, "1 234 567,8"),
        ("ru", 1234567.8, "1 234 567,8"),
        ("kaa", 1234567.8, "1 234 567,8"),
        ("en", 1234567.8, "1,234,567.8"),
        ("ru", 1000, "1 000"),
        ("en", 999, "999"),
        ("uz", 0.0, "0"),
        ("uz", -0.01, "0"),
        ("ru", -4.25, "−4,3"),
        ("uz", 60.25, "60,3"),
        ("uz", 60.15, "60,1"),  # the float lies just below the half; browsers say so too
        ("en", 0.05, "0.1"),
        ("en", 99.95, "100"),
        ("en", 12.0, "12"),
    ],
)
def test_numbers_are_written_as_the_language_writes_them(language: str, value: float, expected: str) -> None:
    assert words.number(value, language, 1) == expected.replace(" ", "\u00a0")


@pytest.mark.parametrize(("value", "expected"), [(41.26, "41,3"), (178.4, "178"), (3.256, "3,26"), (15.0, "15")])
def test_a_number_shows_as_many_decimals_as_tell_something(value: float, expected: str) -> None:
    assert words.number(value, "uz") == expected


@given(st.floats(-1e12, 1e12), st.sampled_from([*LANGUAGES]), st.integers(0, 6))
def test_a_written_number_can_be_read_back(value: float, language: str, decimals: int) -> None:
    text = words.number(value, language, decimals)
    text = text.replace(",", "") if language == "en" else text.replace("\u00a0", "").replace(",", ".")
    assert float(text.replace("−", "-")) == float(Decimal(value).quantize(Decimal(10) ** -decimals, ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("uz", "22-noyabr, 14:32"),
        ("uz-Cyrl", "22-ноябр, 14:32"),
        ("ru", "22 ноября, 14:32"),
        ("kaa", "22-noyabr, 14:32"),
        ("en", "22 November, 14:32"),
    ],
)
def test_a_moment_is_written_as_a_clock_of_the_city_shows_it(language: str, expected: str) -> None:
    assert words.moment(AT, language, ZONE).replace("\u00a0", " ") == expected
    assert words.clock(AT, "Europe/London") == "09:32"
    assert words.iso(AT, ZONE) == "2026-11-22T14:32+05:00"


@pytest.mark.parametrize(
    ("seconds", "uz", "ru", "en"),
    [
        (10, "hozir", "только что", "just now"),
        (60, "1 daqiqa oldin", "1 минуту назад", "1 minute ago"),
        (250, "4 daqiqa oldin", "4 минуты назад", "4 minutes ago"),
        (7_199, "119 daqiqa oldin", "119 минут назад", "119 minutes ago"),
        (7_200, "2 soat oldin", "2 часа назад", "2 hours ago"),
        (21 * 86_400, "21 kun oldin", "21 день назад", "21 days ago"),
        (-300, "soatdan oldinda", "впереди часов", "ahead of the clock"),
    ],
)
def test_an_age_is_told_in_words(seconds: float, uz: str, ru: str, en: str) -> None:
    assert (words.age(seconds, "uz"), words.age(seconds, "ru"), words.age(seconds, "en")) == (uz, ru, en)


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "expected"),
    [
        ("", "", "", "uz"),
        ("lang=ru", "kaa", "en", "ru"),
        ("lang=xx", "kaa", "en", "kaa"),
        ("", "klingon", "ru-RU,ru;q=0.9", "ru"),
        ("", "", "uz-Cyrl-UZ", "uz-Cyrl"),
        ("", "", "fr, kaa;q=0.5", "kaa"),
        ("", "", "fr", "uz"),
    ],
)
def test_the_language_is_the_one_asked_for_then_the_remembered_then_the_browsers(
    query: str, cookie: str, accepted: str, expected: str
) -> None:
    headers = [(b"accept-language", accepted.encode()), (b"cookie", f"{words.COOKIE}={cookie}".encode())]
    request = Request({"type": "http", "query_string": query.encode(), "headers": headers})
    assert words.language_of(request) == expected


def test_where_a_name_is_missing_the_uzbek_one_is_shown() -> None:
    names = {"uz": "Nukus", "ru": "Нукус"}
    assert [words.name_in(names, language) for language in LANGUAGES] == ["Nukus", "Nukus", "Нукус", "Nukus", "Nukus"]
    assert words.name_in({}, "uz") == ""


def test_a_word_within_a_sentence_is_small_in_the_language_s_own_way() -> None:
    assert words.lowered("Íssı", "kaa") == "ıssı"
    assert words.lowered("Oʻrtacha", "uz") == "oʻrtacha"


def _lines(page: Path | str) -> dict[str, list[str]]:
    """The lines of docs/words.md by whose words they count or list."""
    found: dict[str, list[str]] = {}
    for line in (page if isinstance(page, str) else page.read_text("utf-8")).splitlines():
        if whose := re.match(r"\| (\w[\w ]*) \| \w|- \*\*([\w ]+)\*\* \(", line):
            found.setdefault(whose[1] or whose[2], []).append(line)
    return found


def test_words_that_no_native_speaker_has_read_are_listed_with_their_share(tmp_path: Path) -> None:
    told, expected = _lines(ROOT / "docs" / "words.md"), _lines(document())
    assert {"pages", "operations centre"} <= set(told)
    for whose in told.keys() & expected.keys():  # a system that came or went leaves the page standing
        assert told[whose] == expected[whose]
    file = tmp_path / "xx.po"
    head = '# Not yet read by a native speaker.\nmsgid ""\nmsgstr "Language: uz\\n"\n\n'
    file.write_text(head + 'msgid "a.b"\nmsgstr "x"\n\n# read by a native speaker\nmsgid "a.c"\nmsgstr "y"\n', "utf-8")
    assert words.unread(words.read(file)) == ["a.b"]
    assert words.unread_share("en") == 0
