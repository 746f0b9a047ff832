"""Collations: in which order texts stand for the readers of a language.

    und   uz   uz-Cyrl   ru   de-u-co-phonebk   und-u-ks-level1   ru-u-kf-upper-kn

Promises: `parse` raises Invalid for what is no collation, and NotCarried, naming those that are, for one that is not
here; `key` is total and pure. Texts are compared by their letters, then their marks, then their case, as deep as the
strength says.
Carried: the languages of `_LANGUAGES` (for others their letters stand as in "und"); ks (level1: letters alone, level2:
letters and marks, level3, level4, identic), kf (upper, lower, false), kc (case although ks stops before it), kn (digits
as numbers), ka (noignore; shifted: signs and spaces do not count), co (standard; phonebk for de).
Departures: "und" is much like the root collation of Unicode (CLDR) but not exactly it, which would take tables of
several megabytes: signs, and letters of scripts beyond the usual, stand by their code points.
Source: RFC 6067, UTS 35 part 5 (the keys), ETSI GS CIM 009 clause 4.23; the alphabets of Uzbek, Latin and Cyrillic.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shahar.values.errors import Invalid, NotCarried

RULE: Final = "RFC 6067, such as und-u-ks-level2 or ru"
Key = tuple[Any, ...]

_TAG: Final = re.compile(r"([a-z]{2,8}(?:-[a-z0-9]{2,8})*?)(?:-u((?:-[a-z0-9]{2,8})+))?(?:-x-icu)?")
_REGION: Final = re.compile(r"-(?:[a-z]{2}|\d{3})$")
_LETTERS: Final = frozenset("йЙўЎ")
"""Letters of their own, though Unicode takes them apart into a letter and a mark."""
_NUMBER: Final = re.compile(r"\d+")

_CYRILLIC: Final = 0x400
_AFTER_LATIN: Final = "{"
_BEFORE_LATIN: Final = ";"
_APOSTROPHES: Final = "ʻ‘’'`ʼ"
_UZBEK: Final = re.compile(f"([og])[{_APOSTROPHES}]|sh|ch", re.IGNORECASE)
_UZBEK_PLACE: Final = {"o": "1", "g": "2", "sh": "3", "ch": "4"}
_PHONEBOOK: Final = {"ä": "ae", "ö": "oe", "ü": "ue"}
_CYRILLIC_UZBEK: Final = "абвгдеёжзийклмнопрстуфхцчшъьэюяўқғҳ"


@dataclass(frozen=True, slots=True)
class _Language:
    """How an alphabet departs from "und"."""

    cyrillic_first: bool = False
    alphabet: str = ""
    uzbek: bool = False
    phonebook: bool = False


_ROOT: Final = _Language()
_LANGUAGES: Final = {
    "und": _ROOT,
    "en": _ROOT,
    "de": _ROOT,
    "ru": _Language(cyrillic_first=True),
    "uz": _Language(uzbek=True),
    "uz-latn": _Language(uzbek=True),
    "uz-cyrl": _Language(cyrillic_first=True, alphabet=_CYRILLIC_UZBEK),
}
_LEVELS: Final = {"level1": 1, "level2": 2, "level3": 3, "level4": 3, "identic": 4}


@dataclass(frozen=True, slots=True)
class Collation:
    """One order of texts."""

    language: _Language = field(default=_ROOT)
    level: int = 3
    upper_first: bool = False
    case: bool = False
    numbers: bool = False
    shifted: bool = False

    def key(self, text: str) -> Key:
        """Where a text stands."""
        letters, marks, written = _taken_apart(text, self)
        if self.numbers:
            letters = _NUMBER.sub(_counted, letters)
        case = written if self.upper_first else written.swapcase()
        if self.level == 1:
            return (letters, case) if self.case else (letters,)
        if self.level == 2:
            return (letters, marks, case) if self.case else (letters, marks)
        return (letters, marks, case) if self.level == 3 else (letters, marks, case, text)


ROOT: Final = Collation()


def parse(text: str) -> Collation:
    """The collation of this name. Raises Invalid, NotCarried."""
    found = _TAG.fullmatch(text.lower().replace("_", "-"))
    if found is None:
        raise Invalid(f"{text!r:.60} is not a collation", field="collation", rule=RULE)
    name, keys = _REGION.sub("", found.group(1)), _keys(found.group(2) or "")
    if name not in _LANGUAGES:
        raise NotCarried(
            f"collation {name!r:.60} is not carried; these are: {', '.join(_LANGUAGES)}", field="collation", rule=RULE
        )
    made = Collation(_LANGUAGES[name])
    for key, value in keys.items():
        made = _with(made, name, key, value)
    return made


def _keys(text: str) -> dict[str, str]:
    """The keys of the Unicode extension, each of two characters, with their values."""
    keys: dict[str, str] = {}
    key = ""
    for part in filter(None, text.split("-")):
        if len(part) == 2:
            key = part
            keys[key] = ""
        elif key:
            keys[key] = f"{keys[key]}-{part}" if keys[key] else part
    return keys


def _with(made: Collation, name: str, key: str, value: str) -> Collation:
    truth = value in {"", "true"}
    match key, value:
        case "ks", _ if value in _LEVELS:
            return replace(made, level=_LEVELS[value])
        case "kf", "upper" | "lower" | "false":
            return replace(made, upper_first=value == "upper")
        case "kc", "" | "true" | "false":
            return replace(made, case=truth)
        case "kn", "" | "true" | "false":
            return replace(made, numbers=truth)
        case "ka", "shifted" | "noignore":
            return replace(made, shifted=value == "shifted")
        case "co", "standard":
            return made
        case "co", "phonebk" if name == "de":
            return replace(made, language=_Language(phonebook=True))
    raise NotCarried(f"collation key {key}-{value:.40} is not carried", field="collation", rule=RULE)


def _taken_apart(text: str, collation: Collation) -> tuple[str, tuple[str, ...], str]:
    """The letters by which a text stands, their marks, and how each was written."""
    letters: list[str] = []
    marks: list[str] = []
    written: list[str] = []
    for sign, place, mark in _signs(unicodedata.normalize("NFC", text), collation.language):
        if place:
            letters.append(place)
            marks.append(mark)
            written.append(sign)
            continue
        for part in sign if sign in _LETTERS else unicodedata.normalize("NFKD", sign):
            if unicodedata.combining(part):
                if marks:
                    marks[-1] += part
            elif not (collation.shifted and unicodedata.category(part)[0] in "ZPS"):
                letters.append(part.casefold())
                marks.append("")
                written.append(part)
    return "".join(letters), tuple(marks), "".join(written)


def _signs(text: str, language: _Language) -> list[tuple[str, str, str]]:
    """The signs of a text, each with the place and mark that the language gives it, empty where it gives none."""
    if not language.uzbek:
        return [(sign, *_place(sign.lower(), language)) for sign in text]
    found: list[tuple[str, str, str]] = []
    end = 0
    for met in _UZBEK.finditer(text):
        found += [(sign, "", "") for sign in text[end : met.start()]]
        found.append((met.group(), _AFTER_LATIN + _UZBEK_PLACE[(met.group(1) or met.group()).lower()], ""))
        end = met.end()
    return found + [(sign, "", "") for sign in text[end:]]


def _place(sign: str, language: _Language) -> tuple[str, str]:
    if language.phonebook and sign in _PHONEBOOK:
        return _PHONEBOOK[sign], "\u0308"
    if language.alphabet and sign in language.alphabet:
        return _BEFORE_LATIN + chr(_CYRILLIC + language.alphabet.index(sign)), ""
    if language.cyrillic_first and "\u0400" <= sign <= "\u052f":
        apart = sign if sign in _LETTERS else unicodedata.normalize("NFD", sign)
        return _BEFORE_LATIN + apart[0], apart[1:]
    return "", ""


def _counted(met: re.Match[str]) -> str:
    """Digits so that they stand as the number that they write: its length goes before it."""
    digits = met.group().lstrip("0")
    return f"0{len(digits):06d}{digits}"
