"""Whether a declaration is sound: everything wrong with a system or a profile, each in a sentence that its writer can
act on.

Promises: all faults at once, not the first alone; an empty list means that it may be used. Whoever loads a system
asks here before using it (`plugins.py`), the contract tests ask again, and a city's own device profile is asked
when it is saved.
Does not: read files, look for words in catalogues (`plugins.py` does both); decide what happens to an unsound
system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shahar.model.system import (
    STATISTICS,
    VERSION,
    Attribute,
    Catalogue,
    Decoder,
    Indicator,
    Model,
    Panels,
    Profile,
    System,
    Threshold,
    every,
)
from shahar.values import units
from shahar.values.errors import Invalid

_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\.[a-z0-9][a-z0-9-]{0,39}")
_ICON: Final = re.compile(r"[MmZzLlHhVvCcSsQqTtAa0-9 ,.\-]{5,2000}")
_IRI: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+")


def faults(system: System, rules: Iterable[Threshold] = (), panels: Panels | None = None) -> list[str]:
    """Everything wrong with a declaration by itself, one sentence each; an empty list when it may be used."""
    found = [*_of_system(system)]
    for model in system.models:
        found += _of_model(model)
    for decoder in system.decoders:
        found += _of_decoder(system, decoder)
    for indicator in system.indicators:
        found += _of_indicator(system, indicator)
    for profile in system.profiles:
        found += _of_profile(system, profile)
    for rule in rules:
        found += _of_rule(system, rule)
    return [*found, *_of_panels(system, panels or Panels())]


def profile_faults(catalogue: Catalogue, profile: Profile) -> list[str]:
    """Everything wrong with a profile, shipped or a city's own, in sentences; an empty list when it may be used."""
    try:
        catalogue.envelope(profile.envelope)
        decoder, model = catalogue.decoder(profile.decoder), catalogue.model(profile.type)
    except Invalid as wrong:
        return [wrong.detail]
    found = []
    for name, attribute_name in profile.attributes.items():
        try:
            attribute = model.attribute(attribute_name)
        except Invalid as wrong:
            found.append(wrong.detail)
            continue
        found += _feeds(profile, decoder, name, attribute)
    return found


def _feeds(profile: Profile, decoder: Decoder, name: str, attribute: Attribute) -> Iterator[str]:
    """A fault when a decoded name is unknown to the decoder or its unit does not lead to the attribute's."""
    where = f"profile {profile.name}: {name}"
    if name not in decoder.units:
        yield f"{where} is not decoded by {decoder.name}"
        return
    code = decoder.units[name]
    if code is None and attribute.unit is not None:
        yield f"{where} is a word, {attribute.name} is measured in {attribute.unit}"
    if code is not None and attribute.unit is not None:
        yield from _converts(where, code, attribute.unit)
    if code is not None and attribute.unit is None:
        yield f"{where} is a number in {code}, {attribute.name} has no unit"
    if attribute.kind != "Property":
        yield f"{where}: only a Property can be fed by a device"


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} is declared twice"
        seen.add(name)


def _of_system(system: System) -> Iterator[str]:
    if system.kit != VERSION:
        yield f"it was written for kit {system.kit}; this is kit {VERSION}"
    if not _KEY.fullmatch(system.key):
        yield f"key {system.key!r} is not lower case letters, digits and _"
    if not _ICON.fullmatch(system.icon):
        yield "icon is not the path of an SVG in a box of 24 by 24"
    yield from _twice("model", (one.type for one in system.models))
    yield from _twice("decoder", (one.name for one in system.decoders))
    yield from _twice("indicator", (one.key for one in system.indicators))
    yield from _twice("profile", (one.name for one in system.profiles))
    for name in [*(one.name for one in system.decoders), *(one.name for one in system.profiles)]:
        if not _NAME.fullmatch(name) or not name.startswith(system.key + "."):
            yield f"name {name!r} is not {system.key}.NAME in lower case"


def _of_model(model: Model) -> Iterator[str]:
    yield from _twice(f"attribute of {model.type}", (one.name for one in model.attributes))
    for iri in model.terms().values():
        if not _IRI.fullmatch(iri):
            yield f"{model.type}: {iri!r} is not an IRI"
    for one in every(model.attributes):
        where = f"{model.type}.{one.name}"
        if (one.unit is None) != (one.quantity is None):
            yield f"{where} names a unit without a quantity, or a quantity without a unit"
        for code in filter(None, (one.unit, one.shown)):
            yield from _measures(where, code, one.quantity)
        if one.low is not None and one.high is not None and one.low >= one.high:
            yield f"{where}: low is not below high"


def _measures(where: str, code: str, quantity: str | None) -> Iterator[str]:
    """A fault when a unit is unknown or cannot measure the quantity."""
    try:
        if quantity is not None and not units.can_measure(code, quantity):
            yield f"{where}: {code} cannot measure {quantity}"
    except Invalid as wrong:
        yield f"{where}: {wrong.detail}"


def _converts(where: str, from_code: str, to_code: str) -> Iterator[str]:
    try:
        units.convert(1.0, from_code, to_code)
    except Invalid as wrong:
        yield f"{where}: {wrong.detail}"


def _of_decoder(system: System, decoder: Decoder) -> Iterator[str]:
    if not decoder.source:
        yield f"decoder {decoder.name} does not say where its format is described"
    for name, code in decoder.units.items():
        if code is not None and code not in units.UNITS:
            yield f"decoder {decoder.name}: {name} has the unknown unit {code!r}"


def _attribute(system: System, type_: str, name: str) -> Attribute | str:
    """The attribute, or the sentence that says why there is none."""
    try:
        return system.model(type_).attribute(name)
    except Invalid as wrong:
        return wrong.detail


def _of_indicator(system: System, one: Indicator) -> Iterator[str]:
    where = f"indicator {one.key}"
    counts = one.statistic in ("count", "share")
    attribute = _attribute(system, one.type, one.attribute)
    if one.statistic not in STATISTICS:
        yield f"{where}: {one.statistic!r} is not one of {', '.join(STATISTICS)}"
    if isinstance(attribute, str):
        yield f"{where}: {attribute}"
    elif counts:
        yield from _measures(where, one.unit, one.statistic)
    elif attribute.unit is None:
        yield f"{where}: {one.attribute} is not a measured number"
    else:
        yield from _converts(where, attribute.unit, one.unit)
    if counts != (one.when is not None):
        yield f"{where}: `when` belongs to count and share, and to them alone"
    if one.fresh_s <= 0:
        yield f"{where}: fresh_s must be above 0"
    if one.limit is not None and not (one.limit_source and one.limit_word):
        yield f"{where}: a limit needs a word and a source"
    yield from _of_steps(where, one)


def _of_steps(where: str, one: Indicator) -> Iterator[str]:
    ends = [step.below for step in one.steps]
    if not ends:
        return
    if not one.steps_source:
        yield f"{where}: steps need a source"
    inner = [end for end in ends[:-1] if end is not None]
    if ends[-1] is not None or len(inner) != len(ends) - 1 or inner != sorted(set(inner)):
        yield f"{where}: steps must rise, and only the last is open"


def _of_profile(system: System, profile: Profile) -> Iterator[str]:
    for name in profile.attributes.values():
        attribute = _attribute(system, profile.type, name)
        if isinstance(attribute, str):
            yield f"profile {profile.name}: {attribute}"
    yield from _twice(f"profile {profile.name}: attribute", profile.attributes.values())


def _of_rule(system: System, rule: Threshold) -> Iterator[str]:
    attribute = _attribute(system, rule.type, rule.attribute)
    if isinstance(attribute, str):
        yield f"rule {rule.key}: {attribute}"
    elif attribute.unit is None:
        yield f"rule {rule.key}: {rule.attribute} is not a measured number"
    else:
        yield from _converts(f"rule {rule.key}", rule.unit, attribute.unit)


def _of_panels(system: System, panels: Panels) -> Iterator[str]:
    known = {one.key for one in system.indicators}
    yield from (f"panels: there is no indicator {key!r}" for key in panels.tiles if key not in known)
    for card in panels.cards:
        for name in (*card.shows, *filter(None, (card.chart,))):
            attribute = _attribute(system, card.type, name)
            if isinstance(attribute, str):
                yield f"panels: {attribute}"
