"""Quantities and their units: UN/CEFACT codes, what each can measure, and the only conversion factors in the house.

Promises: a code that is not in the table is refused, never guessed; a value is converted only between units of one
dimension, and the result is the number that exact decimal arithmetic gives, rounded once (83 % is 0.83, not
0.8300000000000001).
Refuses: percent where a concentration is meant (`can_measure`), currencies, units with a date in them (a billing
month).
Source: UNECE Recommendation 20 "Codes for Units of Measure Used in International Trade", revision 17 (2021), common
codes, as NGSI-LD's `unitCode` asks (ETSI GS CIM 009 clause 4.5.2). Factors: BIPM, The International System of
Units, 9th edition, 2019, and the international table calorie of 4.1868 J. One code is ours because Recommendation
20 has none: `X_GCAL`, the gigacalorie, in which district heat is still metered and billed in many countries; the
prefix X_ marks it as private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from shahar.values.errors import Invalid


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: its code, English name, dimensions, and what `(value + offset) * factor` makes of it in the
    dimension's first unit.
    """

    code: str
    name: str
    dimensions: frozenset[str]
    factor: Fraction
    symbol: str
    local: Mapping[str, str] = field(default_factory=dict, hash=False)
    offset: Fraction = Fraction(0)


def _unit(
    code: str, name: str, dimensions: str, factor: str, symbol: str, *, offset: str = "0", **local: str
) -> tuple[str, Unit]:
    """One row; `ru`, `cyrl` (Uzbek in Cyrillic letters), `uz`, `kaa`, `en` are given where the symbol differs from the
    international.
    """
    names = {"cyrl": "uz-Cyrl"}
    symbols = MappingProxyType({names.get(tag, tag): text for tag, text in local.items()})
    if "ru" in local and "cyrl" not in local:
        symbols = MappingProxyType({**symbols, "uz-Cyrl": local["ru"]})
    ends = frozenset(part.strip() for part in dimensions.split(","))
    return code, Unit(code, name, ends, Fraction(factor), symbol, symbols, Fraction(offset))


UNITS: Final[Mapping[str, Unit]] = MappingProxyType(
    dict(
        (
            _unit("KEL", "kelvin", "temperature", "1", "K", ru="К"),
            _unit("CEL", "degree Celsius", "temperature", "1", "°C", offset="273.15"),
            _unit("FAH", "degree Fahrenheit", "temperature", "5/9", "°F", offset="459.67"),
            _unit("C62", "one", "ratio, count", "1", ""),
            _unit("P1", "percent", "ratio", "1/100", "%"),
            _unit("H87", "piece", "count", "1", "pcs", uz="dona", cyrl="дона", ru="шт.", kaa="dana"),
            _unit("IE", "person", "count", "1", "people", uz="kishi", cyrl="киши", ru="чел.", kaa="adam"),
            _unit("59", "part per million", "mole fraction", "1/1000000", "ppm"),
            _unit("61", "part per billion", "mole fraction", "1/1000000000", "ppb"),
            _unit("KMQ", "kilogram per cubic metre", "density", "1", "kg/m³", ru="кг/м³"),
            _unit("M1", "milligram per litre", "density", "1/1000", "mg/l", ru="мг/л"),
            _unit("GP", "milligram per cubic metre", "density", "1/1000000", "mg/m³", ru="мг/м³"),
            _unit("GQ", "microgram per cubic metre", "density", "1/1000000000", "µg/m³", ru="мкг/м³"),
            _unit("PAL", "pascal", "pressure", "1", "Pa", ru="Па"),
            _unit("A97", "hectopascal", "pressure", "100", "hPa", ru="гПа"),
            _unit("MBR", "millibar", "pressure", "100", "mbar", ru="мбар"),
            _unit("KPA", "kilopascal", "pressure", "1000", "kPa", ru="кПа"),
            _unit("BAR", "bar", "pressure", "100000", "bar", ru="бар"),
            _unit("MPA", "megapascal", "pressure", "1000000", "MPa", ru="МПа"),
            _unit("MTS", "metre per second", "speed", "1", "m/s", ru="м/с"),
            _unit(
                "KMH",
                "kilometre per hour",
                "speed",
                "5/18",
                "km/h",
                ru="км/ч",
                cyrl="км/соат",
                uz="km/soat",
                kaa="km/saat",
            ),
            _unit("DD", "degree (angle)", "angle", "1", "°"),
            _unit("MTR", "metre", "length", "1", "m", ru="м"),
            _unit("MMT", "millimetre", "length", "1/1000", "mm", ru="мм"),
            _unit("CMT", "centimetre", "length", "1/100", "cm", ru="см", uz="sm", kaa="sm"),
            _unit("KMT", "kilometre", "length", "1000", "km", ru="км"),
            _unit(
                "H67",
                "millimetre per hour",
                "rainfall",
                "1",
                "mm/h",
                ru="мм/ч",
                cyrl="мм/соат",
                uz="mm/soat",
                kaa="mm/saat",
            ),
            _unit("MTK", "square metre", "area", "1", "m²", ru="м²"),
            _unit("KMK", "square kilometre", "area", "1000000", "km²", ru="км²"),
            _unit("MTQ", "cubic metre", "volume", "1", "m³", ru="м³"),
            _unit("LTR", "litre", "volume", "1/1000", "l", ru="л"),
            _unit("MLT", "millilitre", "volume", "1/1000000", "ml", ru="мл"),
            _unit("MQS", "cubic metre per second", "flow", "1", "m³/s", ru="м³/с"),
            _unit(
                "MQH",
                "cubic metre per hour",
                "flow",
                "1/3600",
                "m³/h",
                ru="м³/ч",
                cyrl="м³/соат",
                uz="m³/soat",
                kaa="m³/saat",
            ),
            _unit(
                "G52",
                "cubic metre per day",
                "flow",
                "1/86400",
                "m³/d",
                ru="м³/сут",
                cyrl="м³/кун",
                uz="m³/kun",
                kaa="m³/kún",
            ),
            _unit("G51", "litre per second", "flow", "1/1000", "l/s", ru="л/с"),
            _unit("L2", "litre per minute", "flow", "1/60000", "l/min", ru="л/мин", cyrl="л/дақ", uz="l/daq"),
            _unit(
                "E32",
                "litre per hour",
                "flow",
                "1/3600000",
                "l/h",
                ru="л/ч",
                cyrl="л/соат",
                uz="l/soat",
                kaa="l/saat",
            ),
            _unit("JOU", "joule", "energy", "1", "J", ru="Дж"),
            _unit("3B", "megajoule", "energy", "1000000", "MJ", ru="МДж"),
            _unit("GV", "gigajoule", "energy", "1000000000", "GJ", ru="ГДж"),
            _unit("WHR", "watt hour", "energy", "3600", "Wh", ru="Вт·ч", cyrl="Вт·соат", uz="Vt·soat", kaa="Vt·saat"),
            _unit(
                "KWH",
                "kilowatt hour",
                "energy",
                "3600000",
                "kWh",
                ru="кВт·ч",
                cyrl="кВт·соат",
                uz="kVt·soat",
                kaa="kVt·saat",
            ),
            _unit(
                "MWH",
                "megawatt hour",
                "energy",
                "3600000000",
                "MWh",
                ru="МВт·ч",
                cyrl="МВт·соат",
                uz="MVt·soat",
                kaa="MVt·saat",
            ),
            _unit(
                "E14",
                "kilocalorie (international table)",
                "energy",
                "4186.8",
                "kcal",
                ru="ккал",
                uz="kkal",
                kaa="kkal",
            ),
            _unit(
                "X_GCAL",
                "gigacalorie (private code)",
                "energy",
                "4186800000",
                "Gcal",
                ru="Гкал",
                uz="Gkal",
                kaa="Gkal",
            ),
            _unit("WTT", "watt", "power", "1", "W", ru="Вт", uz="Vt", kaa="Vt"),
            _unit("KWT", "kilowatt", "power", "1000", "kW", ru="кВт", uz="kVt", kaa="kVt"),
            _unit("MAW", "megawatt", "power", "1000000", "MW", ru="МВт", uz="MVt", kaa="MVt"),
            _unit("KVA", "kilovolt ampere", "apparent power", "1", "kVA", ru="кВ·А"),
            _unit("KVR", "kilovar", "reactive power", "1", "kvar", ru="квар"),
            _unit(
                "K3",
                "kilovolt ampere reactive hour",
                "reactive energy",
                "1",
                "kvarh",
                ru="квар·ч",
                cyrl="квар·соат",
            ),
            _unit("VLT", "volt", "voltage", "1", "V", ru="В"),
            _unit("2Z", "millivolt", "voltage", "1/1000", "mV", ru="мВ"),
            _unit("D82", "microvolt", "voltage", "1/1000000", "µV", ru="мкВ"),
            _unit("KVT", "kilovolt", "voltage", "1000", "kV", ru="кВ"),
            _unit("AMP", "ampere", "current", "1", "A", ru="А"),
            _unit("4K", "milliampere", "current", "1/1000", "mA", ru="мА"),
            _unit("HTZ", "hertz", "frequency", "1", "Hz", ru="Гц"),
            _unit("SEC", "second", "time", "1", "s", ru="с"),
            _unit("C26", "millisecond", "time", "1/1000", "ms", ru="мс"),
            _unit("MIN", "minute", "time", "60", "min", ru="мин", cyrl="дақ", uz="daq"),
            _unit("HUR", "hour", "time", "3600", "h", ru="ч", cyrl="соат", uz="soat", kaa="saat"),
            _unit("DAY", "day", "time", "86400", "d", ru="сут", cyrl="кун", uz="kun", kaa="kún"),
            _unit("LUX", "lux", "illuminance", "1", "lx", ru="лк", uz="lk", kaa="lk"),
            _unit("LUM", "lumen", "luminous flux", "1", "lm", ru="лм"),
            _unit("D54", "watt per square metre", "irradiance", "1", "W/m²", ru="Вт/м²", uz="Vt/m²", kaa="Vt/m²"),
            _unit("2N", "decibel", "level", "1", "dB", ru="дБ"),
            _unit("DBM", "decibel-milliwatt", "power level", "1", "dBm", ru="дБм"),
            _unit("KGM", "kilogram", "mass", "1", "kg", ru="кг"),
            _unit("GRM", "gram", "mass", "1/1000", "g", ru="г"),
            _unit("TNE", "tonne", "mass", "1000", "t", ru="т"),
            _unit("G42", "microsiemens per centimetre", "conductivity", "1", "µS/cm", ru="мкСм/см"),
            _unit("H61", "millisiemens per centimetre", "conductivity", "1000", "mS/cm", ru="мСм/см"),
            _unit("NTU", "nephelometric turbidity unit", "turbidity", "1", "NTU"),
            _unit("Q30", "pH", "acidity", "1", "pH"),
            _unit("4L", "megabyte", "amount of data", "1", "MB", ru="МБ"),
            _unit("E34", "gigabyte", "amount of data", "1000", "GB", ru="ГБ"),
            _unit("E20", "megabit per second", "data rate", "1", "Mbit/s", ru="Мбит/с"),
        )
    )
)
"""Code -> unit."""

QUANTITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "temperature": "temperature",
        "relative humidity": "ratio",
        "battery level": "ratio",
        "share": "ratio",
        "fill level": "ratio",
        "count": "count",
        "probe level": "count",
        "people": "count",
        "gas in air": "mole fraction",
        "mass concentration": "density",
        "atmospheric pressure": "pressure",
        "pressure": "pressure",
        "speed": "speed",
        "direction": "angle",
        "distance": "length",
        "level of water": "length",
        "precipitation": "length",
        "rainfall rate": "rainfall",
        "area": "area",
        "volume": "volume",
        "flow": "flow",
        "energy": "energy",
        "heat": "energy",
        "power": "power",
        "apparent power": "apparent power",
        "reactive power": "reactive power",
        "reactive energy": "reactive energy",
        "voltage": "voltage",
        "current": "current",
        "frequency": "frequency",
        "duration": "time",
        "illuminance": "illuminance",
        "luminous flux": "luminous flux",
        "solar radiation": "irradiance",
        "sound level": "level",
        "signal to noise": "level",
        "signal strength": "power level",
        "mass": "mass",
        "conductivity": "conductivity",
        "turbidity": "turbidity",
        "acidity": "acidity",
        "amount of data": "amount of data",
        "data rate": "data rate",
    }
)
"""Quantity that an attribute may name -> the dimension in which it is measured."""


def unit(code: str) -> Unit:
    """The unit of a code; Invalid when the table has none."""
    found = UNITS.get(code)
    if found is None:
        raise Invalid(f"{code!r:.40} is not a unit code known here", field="unitCode", rule="a code of values/units.py")
    return found


def convert(value: float, from_code: str, to_code: str) -> float:
    """The same amount in another unit; unchanged, also in type, when the codes are equal; Invalid across dimensions."""
    factor, shift = _path(from_code, to_code)
    if from_code == to_code:
        return value
    try:
        return float(Fraction(repr(value)) * factor + shift)
    except (ValueError, OverflowError):
        raise Invalid(f"{value!r:.40} is not a finite number", rule="finite number") from None


def symbol(code: str, language: str = "en") -> str:
    """How a unit is written beside a number in a language of the pages; the international symbol where that language
    has no other.
    """
    found = unit(code)
    return found.local.get(language, found.symbol)


def can_measure(code: str, quantity: str) -> bool:
    """Whether a quantity can be given in a unit; Invalid when the unit or the quantity is unknown."""
    dimension = QUANTITIES.get(quantity)
    if dimension is None:
        raise Invalid(f"{quantity!r:.40} is not a quantity known here", field="quantity", rule="a name in QUANTITIES")
    return dimension in unit(code).dimensions


@lru_cache(maxsize=512)
def _path(from_code: str, to_code: str) -> tuple[Fraction, Fraction]:
    """Factor and shift of `value * factor + shift`, exact."""
    source, target = unit(from_code), unit(to_code)
    if not source.dimensions & target.dimensions:
        raise Invalid(f"{source.name} cannot be told in {target.name}", field="unitCode", rule="units of one dimension")
    factor = source.factor / target.factor
    return factor, source.offset * factor - target.offset
