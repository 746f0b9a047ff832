"""From a device's message to measurements of an entity: envelope, decoder, units, bounds. The same steps for every
device.

Promises: pure, and the outcome depends on the message and the declarations alone; a value that is no measurement
(wrong kind, outside its physical bounds, another unit's) is refused by itself, with a reason, and does not take its
neighbours with it.
Does not: know which device may speak for which entity; keep anything; ask what time it is (an uplink without an
instant has None, and the arrival counts); drop repetitions (`Uplink.frame` lets the one who keeps do it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from shahar.model.system import Attribute, Catalogue, Decoder, Indicator, Model, Profile, Uplink, Value, holds
from shahar.values import units
from shahar.values.errors import Invalid

LONGEST_WORD: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of one attribute, in the attribute's unit."""

    attribute: Attribute
    value: Value

    def instance(self, observed_at: int) -> dict[str, Any]:
        """It as an instance of the entity document: type, value, observedAt (microseconds), unitCode when it has a
        unit.
        """
        told: dict[str, Any] = {"type": "Property", "value": self.value, "observedAt": observed_at}
        return told if self.attribute.unit is None else told | {"unitCode": self.attribute.unit}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One decoded value that is no measurement, and why."""

    name: str
    value: Value
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one message says: the uplink as the envelope told it, the type it feeds, what was measured and what was
    refused.
    """

    uplink: Uplink
    model: Model
    measurements: tuple[Measurement, ...]
    refused: tuple[Refusal, ...]


def read(catalogue: Catalogue, profile: Profile, body: bytes) -> Reading:
    """A message of a device with this profile as measurements; Invalid when the message as a whole cannot be read."""
    uplink = catalogue.envelope(profile.envelope).parse(body)
    decoder, model = catalogue.decoder(profile.decoder), catalogue.model(profile.type)
    measurements, refused = measure(profile, decoder, model, decode(decoder, uplink))
    return Reading(uplink=uplink, model=model, measurements=measurements, refused=refused)


def decode(decoder: Decoder, uplink: Uplink) -> Mapping[str, Value]:
    """The named values in an uplink; none when it came through a port that the decoder does not read."""
    if decoder.fport is not None and uplink.fport is not None and uplink.fport != decoder.fport:
        return {}
    return decoder.decode(uplink.read_by(decoder), uplink.fport)


def measure(
    profile: Profile, decoder: Decoder, model: Model, values: Mapping[str, Value]
) -> tuple[tuple[Measurement, ...], tuple[Refusal, ...]]:
    """Decoded values as measurements of the profile's attributes, and those that are none."""
    measured, refused = [], []
    for name, attribute_name in profile.attributes.items():
        if name not in values:
            continue
        attribute = model.attribute(attribute_name)
        try:
            value = _value(values[name], decoder.units.get(name), attribute)
            measured.append(Measurement(attribute=attribute, value=value))
        except Invalid as wrong:
            refused.append(Refusal(name=name, value=values[name], reason=wrong.detail))
    return tuple(measured), tuple(refused)


def _value(value: Value, code: str | None, attribute: Attribute) -> Value:
    """The value in the attribute's unit; Invalid when it is no measurement of it."""
    if attribute.unit is None:
        if isinstance(value, str) and len(value) > LONGEST_WORD:
            raise Invalid("the text is too long", field=attribute.name, rule=f"at most {LONGEST_WORD} letters")
        return value
    if isinstance(value, bool | str):
        raise Invalid(f"{value!r:.40} is not a number", field=attribute.name, rule="a number")
    told = units.convert(value, code or attribute.unit, attribute.unit)
    low, high = attribute.low, attribute.high
    if (low is not None and told < low) or (high is not None and told > high):
        rule = f"{'' if low is None else low}..{'' if high is None else high} {attribute.unit}"
        raise Invalid(f"{told} is outside {rule}", field=attribute.name, rule=rule)
    return told


def summarise(indicator: Indicator, values: Sequence[float]) -> float | None:
    """The indicator's statistic over one fresh value per entity, in the attribute's unit; None when it says nothing
    (no entity).
    """
    if indicator.statistic == "count":
        return float(sum(_counts(indicator, value) for value in values))
    if not values:
        return None
    if indicator.statistic == "share":
        return units.convert(sum(_counts(indicator, value) for value in values) / len(values), "C62", indicator.unit)
    if indicator.statistic == "median":
        return float(median(values))
    if indicator.statistic == "mean":
        return float(sum(values) / len(values))
    return float(max(values) if indicator.statistic == "max" else min(values))


def _counts(indicator: Indicator, value: float) -> bool:
    """Whether the indicator's condition holds for a value; True when it has none."""
    if indicator.when is None:
        return True
    op, bound = indicator.when
    return holds(op, value, bound)
