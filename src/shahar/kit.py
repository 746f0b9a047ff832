"""The promise to those who write systems and envelopes: everything that they may import, and nothing else of ours.

Promises: a name here keeps its meaning within one `VERSION`; each has a line in docs/systems.md and a test. All of
it is pure.
Does not: offer the clock, files, sockets, the store or the web. A system is data and pure functions; the platform
does the rest. When not to write a system: one more kind of device for a type that exists needs a decoder or only a
profile (which is data).
"""

from __future__ import annotations

from shahar.model.lorawan import (
    best_reception,
    dev_eui,
    fport,
    frame_of,
    milliseconds,
    octets_base64,
    octets_hex,
)
from shahar.model.payload import numbers, read_object, write_object
from shahar.model.reading import Measurement, Reading, Refusal, decode, measure, read, summarise
from shahar.model.soundness import faults, profile_faults
from shahar.model.system import (
    LANGUAGES,
    REPEAT_S,
    VERSION,
    Attribute,
    Card,
    Catalogue,
    Decoder,
    Envelope,
    Indicator,
    Model,
    Panels,
    Profile,
    Step,
    System,
    Threshold,
    Uplink,
    Value,
    own,
    profile_from,
    step_of,
    words_of,
)
from shahar.values.errors import Invalid
from shahar.values.instants import parse as parse_instant
from shahar.values.units import can_measure, convert, symbol

__all__ = [
    "LANGUAGES",
    "REPEAT_S",
    "VERSION",
    "Attribute",
    "Card",
    "Catalogue",
    "Decoder",
    "Envelope",
    "Indicator",
    "Invalid",
    "Measurement",
    "Model",
    "Panels",
    "Profile",
    "Reading",
    "Refusal",
    "Step",
    "System",
    "Threshold",
    "Uplink",
    "Value",
    "best_reception",
    "can_measure",
    "convert",
    "decode",
    "dev_eui",
    "faults",
    "fport",
    "frame_of",
    "measure",
    "milliseconds",
    "numbers",
    "octets_base64",
    "octets_hex",
    "own",
    "parse_instant",
    "profile_faults",
    "profile_from",
    "read",
    "read_object",
    "step_of",
    "summarise",
    "symbol",
    "words_of",
    "write_object",
]
