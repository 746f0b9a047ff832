"""The words of the pages, and how each language writes numbers, moments and ages.

For: every room that shows something to a person. `words("ru")` gives a function: `say("age.days", n=3)` is
"3 дня назад".
Promises: the catalogues (words/*.po, symbolic msgids) are read once, each when its language is first asked for; every
key is in every language with all its plural forms (a test holds the files to it, so a missing key is a KeyError here
and never an empty text); a text without arguments comes back as it is written, braces and all; numbers given as
arguments are written as the language writes them. Pure: instants and time zones are arguments.
Does not: escape (the templates do); transliterate (each script is written out); know the words of systems, which bring
their own.
Source: GNU gettext's .po files. Month names and numbers are ours in every language, because what is known of Karakalpak
elsewhere is a stub, and one rule for the four languages of the country is easier to trust than four.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from gettext import c2py
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from starlette.requests import Request

from shahar.values.instants import SECOND, Instant

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType(
    {"uz": "Oʻzbekcha", "uz-Cyrl": "Ўзбекча", "ru": "Русский", "kaa": "Qaraqalpaqsha", "en": "English"}
)
"""Language tag -> its name in itself, in the order of the pages; the first is the default."""
SHORT: Final[Mapping[str, str]] = MappingProxyType({"uz": "Oʻz", "uz-Cyrl": "Ўз", "ru": "Ru", "kaa": "Qq", "en": "En"})
COOKIE: Final = "shahar_lang"
FOLDER: Final = Path(__file__).parent / "words"
UNREAD: Final = "Not yet read by a native speaker."
READ: Final = "read by a native speaker"

_PLACE: Final = re.compile(r"\{(\w+)\}")
_THOUSANDS: Final = re.compile(r"\B(?=(\d{3})+$)")
_NO_BREAK: Final = "\u00a0"
_MINUS: Final = "\u2212"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_CLOCKS_DIFFER_S: Final = 90
_HALF_UP: Final = Context(prec=400, rounding=ROUND_HALF_UP)
"""Rounds as browsers do, so that / and /ops say the same; room for the digits of any float."""


@dataclass(frozen=True)
class Say:
    """The words of one language; called with a key, and arguments for the places in braces. `n` chooses the plural."""

    language: str
    texts: Mapping[str, tuple[str, ...]] = field(repr=False)
    plural: Callable[[int], int] = field(repr=False)

    def __call__(self, key: str, /, **arguments: str | float) -> str:
        """The text of a key; KeyError when there is none."""
        forms = self.texts[key]
        text = forms[self.plural(int(float(arguments.get("n", 0))))] if len(forms) > 1 else forms[0]
        return _PLACE.sub(lambda place: self._argument(place, arguments), text) if arguments else text

    def _argument(self, place: re.Match[str], arguments: Mapping[str, str | float]) -> str:
        given = arguments.get(place[1], place[0])
        return given if isinstance(given, str) else number(given, self.language)


def read(path: Path) -> Catalog:
    """The catalogue in a .po file."""
    with path.open("rb") as file:
        return read_po(file)


def texts_of(catalogue: Catalog) -> dict[str, tuple[str, ...]]:
    """Key -> its text, or its texts for each plural form."""
    found: dict[str, tuple[str, ...]] = {}
    for message in catalogue:
        if message.id:
            key = message.id if isinstance(message.id, str) else message.id[0]
            found[key] = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
    return found


def unread(catalogue: Catalog) -> list[str]:
    """The keys whose text no native speaker has read: all of a file that says so at its head, but those with the
    comment `# read by a native speaker`.
    """
    if UNREAD not in catalogue.header_comment:
        return []
    keys = []
    for message in catalogue:
        if message.id and READ not in message.user_comments:
            keys.append(message.id if isinstance(message.id, str) else message.id[0])
    return sorted(keys)


@cache
def _catalogue(language: str) -> Catalog:
    return read(FOLDER / f"{language}.po")


@cache
def words(language: str) -> Say:
    """The words of a language of the pages, read when they are first asked for; KeyError for another."""
    if language not in LANGUAGES:
        raise KeyError(language)
    catalogue = _catalogue(language)
    return Say(language, MappingProxyType(texts_of(catalogue)), c2py(catalogue.plural_expr))


@cache
def unread_share(language: str) -> int:
    """Percent of a language's words that no native speaker has read yet."""
    return round(100 * len(unread(_catalogue(language))) / len(words(language).texts))


def language_of(request: Request) -> str:
    """The first language that is asked for and that the pages speak: by ?lang=, the cookie, the browser's own list;
    Uzbek in Latin letters when there is none.
    """
    for told in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if told is not None and told in LANGUAGES:
            return told
    for part in request.headers.get("accept-language", "").split(","):
        tag = part.partition(";")[0].strip().lower()
        if tag.startswith("uz-cyrl"):
            return "uz-Cyrl"
        if tag.partition("-")[0] in LANGUAGES:
            return tag.partition("-")[0]
    return "uz"


def name_in(names: Mapping[str, str], language: str) -> str:
    """A name in a language; the Uzbek one where there is none, else whichever there is."""
    return names.get(language) or names.get("uz") or next(iter(names.values()), "")


def lowered(text: str, language: str) -> str:
    """A word as it stands within a sentence."""
    if language == "kaa" and text[:1] == "Í":
        return "ı" + text[1:].lower()
    return text.lower()


def number(value: float, language: str, decimals: int | None = None) -> str:
    """`1 234 567,8` with spaces that do not break; in English `1,234,567.8`. Without `decimals` as many as tell
    something: none from 100 on, one from 10 on, else two. A half goes away from zero.
    """
    if decimals is None:
        decimals = 0 if float(value).is_integer() or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    rounded = Decimal(abs(value)).quantize(Decimal(10) ** -decimals, context=_HALF_UP)
    whole, _, part = f"{rounded:f}".partition(".")
    english = language == "en"
    text = _THOUSANDS.sub("," if english else _NO_BREAK, whole)
    if part.rstrip("0"):
        text += ("." if english else ",") + part.rstrip("0")
    return _MINUS + text if value < 0 and text.strip("0.,") else text


def day(at: Instant, language: str, zone: str) -> str:
    """`22-noyabr`: the day of an instant in a time zone."""
    local = _local(at, zone)
    say = words(language)
    return say("date", day=str(local.day), month=say(f"month.{local.month}"))


def clock(at: Instant, zone: str) -> str:
    """`14:32`: the time of an instant in a time zone."""
    return _local(at, zone).strftime("%H:%M")


def moment(at: Instant, language: str, zone: str) -> str:
    """`22-noyabr, 14:32`: an instant in a time zone."""
    return words(language)("date.time", date=day(at, language, zone), time=clock(at, zone))


def age(seconds: float, language: str) -> str:
    """`4 daqiqa oldin`: minutes to two hours, hours to two days, then days."""
    say = words(language)
    if seconds < -_CLOCKS_DIFFER_S:
        return say("age.ahead")
    for below, key, unit in (
        (_MINUTE_S, "age.now", 1),
        (2 * _HOUR_S, "age.minutes", _MINUTE_S),
        (2 * _DAY_S, "age.hours", _HOUR_S),
    ):
        if seconds < below:
            return say(key, n=int(seconds // unit))
    return say("age.days", n=int(seconds // _DAY_S))


def iso(at: Instant, zone: str) -> str:
    """The instant as a machine reads it in a page: `2026-11-22T14:32+05:00`."""
    return _local(at, zone).isoformat(timespec="minutes")


def _local(at: Instant, zone: str) -> datetime:
    return datetime.fromtimestamp(at // SECOND, ZoneInfo(zone))
