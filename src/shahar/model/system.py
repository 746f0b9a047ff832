"""What a city system, a device profile and an envelope are: frozen declarations, and no more.

For: the promise to those who write systems (`kit.py` re-exports it). A system says in data what it measures, in
which standard model, in which unit, within which bounds, what a good value is and who says so; its only code are
pure decoders.
Promises: nothing here reads a file, a clock or a socket; what is read from a table is read strictly, unknown keys
are refused.
Does not: judge a declaration as a whole (`soundness.py`); turn a message into measurements (`reading.py`).
Does not: run rules (they are read and checked now; the alarms that run them come with the issue "alarms"); choose
what a city shows.
Source: house.md "A city system is one folder"; ETSI GS CIM 009 clause 4.5 for kinds of attributes; ITU-T X.733 for
severities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from shahar.values.errors import Invalid

T = TypeVar("T")

VERSION: Final = 1
"""Version of the promise. A system names the one it was written for; a change that breaks a system makes the next."""

LANGUAGES: Final = ("uz", "uz-Cyrl", "ru", "kaa", "en")
"""Language tags in the order of the pages; the first is the default."""

DEFAULT_CONTEXT: Final = "https://uri.etsi.org/ngsi-ld/default-context/"

Value = float | int | bool | str
"""What a decoder may say about one thing: a number in the unit that the decoder names, a truth, or a word."""

Decode = Callable[[bytes, int | None], Mapping[str, Value]]
Statistic = Literal["median", "mean", "max", "min", "count", "share"]
Kind = Literal["Property", "GeoProperty", "Relationship"]
Op = Literal[">", ">=", "<", "<=", "==", "!="]
Severity = Literal["critical", "major", "minor", "warning"]

OPS: Final = (">", ">=", "<", "<=", "==", "!=")
SEVERITIES: Final = ("critical", "major", "minor", "warning")
STATISTICS: Final = ("median", "mean", "max", "min", "count", "share")


def own(name: str) -> str:
    """The IRI of a name that no standard model has: NGSI-LD's default vocabulary, to which short names without
    @context expand.
    """
    return DEFAULT_CONTEXT + name


class _Frozen:
    """Mappings given to a frozen declaration are copied and closed, so that it is frozen to the ground."""

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, dict):
                object.__setattr__(self, name, MappingProxyType(dict(value)))


@dataclass(frozen=True, kw_only=True)
class Attribute(_Frozen):
    """One attribute of a model: its IRI, what it measures in which unit, and the bounds outside which a value is no
    measurement.
    """

    name: str
    iri: str
    title: str
    kind: Kind = "Property"
    quantity: str | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    shown: str | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model(_Frozen):
    """One NGSI-LD entity type: short name, IRI, and the attributes that this system fills or shows."""

    type: str
    iri: str
    title: str
    attributes: tuple[Attribute, ...]
    context: str = ""

    def attribute(self, name: str) -> Attribute:
        """The attribute of a short name; Invalid when the model has none."""
        for found in self.attributes:
            if found.name == name:
                return found
        raise Invalid(f"{self.type} has no attribute {name!r:.60}", field=name, rule="an attribute of the model")

    def terms(self) -> dict[str, str]:
        """Short name -> IRI of the type and its attributes: what an @context says of this model."""
        return {self.type: self.iri} | {found.name: found.iri for found in every(self.attributes)}


@dataclass(frozen=True, kw_only=True)
class Decoder(_Frozen):
    """A pure function from a device's bytes to named values, with the unit of each; raises only Invalid.

    `reads` says which bytes it is given: the device's own ("payload") or the JSON object that the network server or
    the sender made ("object"). With `fport` it is called for that LoRaWAN port alone, and other ports yield
    nothing.
    """

    name: str
    decode: Decode
    units: Mapping[str, str | None]
    reads: Literal["payload", "object"] = "payload"
    fport: int | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Step(_Frozen):
    """One step of a scale of words: it holds below `below`, and what the steps before it leave; the last has no upper
    end.
    """

    word: str
    advice: str
    below: float | None = None


@dataclass(frozen=True, kw_only=True)
class Indicator(_Frozen):
    """One number for a whole city: a statistic over the fresh values of an attribute, with its limit and who set it.

    Each entity counts with the mean of the `over_s` seconds that end at its latest value (0: with that value
    alone); an entity whose latest value is older than `fresh_s` does not count. "count" and "share" count the
    entities for which `when` holds.
    """

    key: str
    title: str
    type: str
    attribute: str
    statistic: Statistic
    unit: str
    fresh_s: int
    over_s: int = 0
    when: tuple[Op, float] | None = None
    limit: float | None = None
    limit_kind: Literal["upper", "lower"] = "upper"
    limit_word: str = ""
    limit_source: str = ""
    steps: tuple[Step, ...] = ()
    steps_source: str = ""


@dataclass(frozen=True, kw_only=True)
class Threshold(_Frozen):
    """A row of `rules.toml`: an alarm when an attribute has kept to one side of a value for a while."""

    key: str
    title: str
    type: str
    attribute: str
    op: Op
    value: float
    unit: str
    for_s: int
    severity: Severity
    source: str


@dataclass(frozen=True, kw_only=True)
class Card(_Frozen):
    """A row of `panels.toml`: what the card of an object of this type shows, in order, and which attribute it draws
    over time.
    """

    type: str
    shows: tuple[str, ...]
    chart: str | None = None


@dataclass(frozen=True, kw_only=True)
class Panels(_Frozen):
    """What the pages show of a system: its indicators as tiles, and a card per type."""

    tiles: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile(_Frozen):
    """How one kind of device feeds one type of entity: envelope, decoder, and decoded name -> attribute. Data, never
    code.
    """

    name: str
    envelope: str
    decoder: str
    type: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Uplink(_Frozen):
    """What an envelope says about one message.

    `device` is the identifier that the message names, in lower case (a DevEUI as 16 hexadecimal digits), "" when
    the transport must know it; `at` the instant of measurement, None when the message does not tell (the arrival
    counts). `frame` is equal for the same frame told again: a device repeats a frame that was not confirmed, up to
    half an hour later in the data that we have, and the same frame within `REPEAT_S` is one reading.
    """

    device: str
    payload: bytes
    object: bytes = b""
    fport: int | None = None
    at: int | None = None
    frame: str | None = None
    rssi: float | None = None
    snr: float | None = None

    def read_by(self, decoder: Decoder) -> bytes:
        """The bytes that a decoder is to be given."""
        return self.object if decoder.reads == "object" else self.payload


REPEAT_S: Final = 3600
"""How long a frame can be a repetition of the one before it; afterwards the counter may have started again."""


@dataclass(frozen=True, kw_only=True)
class Envelope(_Frozen):
    """How one network server wraps a device's message; pure, raises only Invalid."""

    name: str
    parse: Callable[[bytes], Uplink]
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class System(_Frozen):
    """A city system: everything that the platform must know about it, as data. `icon` is an SVG path in a box of 24 by
    24.
    """

    key: str
    kit: int
    title: str
    about: str
    icon: str
    models: tuple[Model, ...] = ()
    decoders: tuple[Decoder, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    profiles: tuple[Profile, ...] = ()

    def model(self, type_: str) -> Model:
        """The model of a short type name; Invalid when this system has none."""
        for found in self.models:
            if found.type == type_:
                return found
        raise Invalid(f"{self.key} has no type {type_!r:.60}", field="type", rule="a type of the system")


def words_of(system: System, rules: Iterable[Threshold] = ()) -> tuple[str, ...]:
    """Every word key that a system uses, sorted; each must be in all its catalogues."""
    keys = {system.title, system.about} | {rule.title for rule in rules}
    for model in system.models:
        keys |= {model.title} | {found.title for found in every(model.attributes)}
    for indicator in system.indicators:
        keys |= {indicator.title, indicator.limit_word}
        keys |= {word for step in indicator.steps for word in (step.word, step.advice)}
    return tuple(sorted(keys - {""}))


def every(attributes: Iterable[Attribute]) -> Iterator[Attribute]:
    """Attributes, each followed by its sub-attributes."""
    for one in attributes:
        yield one
        yield from every(one.attributes)


def step_of(indicator: Indicator, value: float) -> int | None:
    """Place of a value on the indicator's scale of words, from 0; None when it has no scale."""
    for place, step in enumerate(indicator.steps):
        if step.below is None or value < step.below:
            return place
    return None


def holds(op: str, value: float, bound: float) -> bool:
    """Whether `value op bound` is true; Invalid for another operator."""
    if op not in OPS:
        raise Invalid(f"{op!r:.10} is not an operator", field="op", rule=" ".join(OPS))
    return bool(_COMPARE[op](value, bound))


_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
    "!=": lambda value, bound: value != bound,
}


def rule_from(row: Mapping[str, Any]) -> Threshold:
    """A row of `rules.toml` as a rule; Invalid when a key is missing, unknown, or of the wrong kind."""
    kinds: dict[str, type | tuple[type, ...]] = {one.name: str for one in fields(Threshold)}
    kinds |= {"value": (int, float), "for_s": int}
    _strict(row, kinds, frozenset(kinds), "rules.toml")
    if row["op"] not in OPS or row["severity"] not in SEVERITIES or row["for_s"] < 0:
        detail = f"rule {row['key']!r:.60}: op, severity or for_s is not allowed"
        raise Invalid(detail, field=row["key"], rule="see docs/systems.md")
    return Threshold(**row)


def panels_from(table: Mapping[str, Any]) -> Panels:
    """The whole of `panels.toml`; Invalid when a key is unknown or of the wrong kind."""
    _strict(table, {"tiles": list, "card": list}, frozenset(), "panels.toml")
    cards = []
    for row in table.get("card", []):
        _strict(row, {"type": str, "shows": list, "chart": str}, frozenset({"type", "shows"}), "panels.toml")
        cards.append(Card(type=row["type"], shows=tuple(map(str, row["shows"])), chart=row.get("chart")))
    return Panels(tiles=tuple(map(str, table.get("tiles", []))), cards=tuple(cards))


def _strict(row: Any, kinds: Mapping[str, Any], needed: frozenset[str], where: str) -> None:
    """Invalid unless a table has the needed keys, no other than the known, each of its kind."""
    if not isinstance(row, Mapping):
        raise Invalid(f"{where}: a table is wanted, not {row!r:.40}", rule="a table")
    for key in sorted(needed - set(row)):
        raise Invalid(f"{where}: {key!r} is missing", field=key, rule="required key")
    for key, value in row.items():
        if key not in kinds:
            raise Invalid(f"{where}: unknown key {key!r:.40}", field=key, rule="one of " + ", ".join(sorted(kinds)))
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and kinds[key] is not bool):
            raise Invalid(f"{where}: {key} has a value of the wrong kind", field=key, rule="see docs/systems.md")


def profile_from(row: Mapping[str, Any]) -> Profile:
    """A device profile from plain data; Invalid when a key is missing, unknown, or of the wrong kind."""
    kinds = {"name": str, "envelope": str, "decoder": str, "type": str, "attributes": Mapping}
    _strict(row, kinds, frozenset(kinds), "profile")
    for name, attribute in row["attributes"].items():
        if not isinstance(name, str) or not isinstance(attribute, str):
            raise Invalid("attributes map decoded names to attribute names", field="attributes", rule="text to text")
    return Profile(**{**row, "attributes": dict(row["attributes"])})


@dataclass(frozen=True, kw_only=True)
class Catalogue(_Frozen):
    """All systems and envelopes that were found and passed, with their words: handed down to whoever must know them."""

    systems: tuple[System, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    rules: Mapping[str, tuple[Threshold, ...]] = field(default_factory=dict)
    panels: Mapping[str, Panels] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    def system(self, key: str) -> System:
        """The system of a key."""
        return _one("system", key, ((one.key, one) for one in self.systems))

    def envelope(self, name: str) -> Envelope:
        """The envelope of a name."""
        return _one("envelope", name, ((one.name, one) for one in self.envelopes))

    def decoder(self, name: str) -> Decoder:
        """The decoder of a full name such as `parking.sensor`."""
        return _one("decoder", name, ((one.name, one) for each in self.systems for one in each.decoders))

    def profile(self, name: str) -> Profile:
        """The shipped profile of a full name such as `parking.bay`."""
        return _one("profile", name, ((one.name, one) for each in self.systems for one in each.profiles))

    def model(self, type_: str) -> Model:
        """The model of a short type name."""
        return _one("type", type_, ((one.type, one) for each in self.systems for one in each.models))

    def word(self, system: str, language: str, key: str) -> str:
        """A word of a system in a language; Invalid when the key is not the system's."""
        found = self.words.get(system, {}).get(language, {}).get(key)
        if found is None:
            raise Invalid(f"{system} has no word {key!r:.60} in {language!r:.20}", field=key, rule="a key in words/")
        return found


def _one(what: str, name: str, found: Iterable[tuple[str, T]]) -> T:
    for key, value in found:
        if key == name:
            return value
    raise Invalid(f"there is no {what} {name!r:.60}", field=what, rule="one that is installed")
