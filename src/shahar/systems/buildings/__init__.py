"""Public buildings from within: warmth, damp, air, leaks, meters with pulses. What it measures and how: README.md
here.
"""

from __future__ import annotations

from shahar.kit import Decoder, Indicator, Profile, System, numbers

from .elsys import ELSYS
from .models import ROOM

HOUR_S = 3600

JSON = Decoder(
    name="buildings.json",
    reads="object",
    decode=numbers(
        {
            "temperature": "temperature",
            "humidity": "humidity",
            "co2": "co2",
            "illuminance": "illuminance",
            "leak": "leak",
            "pulses": "pulses",
            "battery": "battery",
        }
    ),
    units={
        "temperature": "CEL",
        "humidity": "P1",
        "co2": "59",
        "illuminance": "LUX",
        "leak": "C62",
        "pulses": "C62",
        "battery": "VLT",
    },
    source="README.md of this folder",
)

HOUSING = "WHO housing and health guidelines, 2018, ISBN 978-92-4-155037-6: 18 degrees indoors in cold seasons"

SYSTEM = System(
    key="buildings",
    kit=1,
    title="buildings.title",
    about="buildings.about",
    icon="M4 21V6l8-3v18M12 9l8 2v10M2 21h20M7 9h2M7 13h2M7 17h2M15 14h2M15 17h2",
    models=(ROOM,),
    decoders=(ELSYS, JSON),
    indicators=(
        Indicator(
            key="leaks",
            title="indicator.leaks",
            type="IndoorEnvironmentObserved",
            attribute="waterLeak",
            statistic="count",
            when=(">", 0),
            unit="C62",
            fresh_s=2 * HOUR_S,
            limit=0,
            limit_word="limit.none",
            limit_source="a dry building has no leak",
        ),
        Indicator(
            key="temperature",
            title="indicator.temperature",
            type="IndoorEnvironmentObserved",
            attribute="temperature",
            statistic="median",
            unit="CEL",
            fresh_s=2 * HOUR_S,
            limit=18,
            limit_kind="lower",
            limit_word="limit.who",
            limit_source=HOUSING,
        ),
        Indicator(
            key="cold",
            title="indicator.cold",
            type="IndoorEnvironmentObserved",
            attribute="temperature",
            statistic="share",
            when=("<", 18),
            unit="P1",
            fresh_s=2 * HOUR_S,
        ),
    ),
    profiles=(
        Profile(
            name="buildings.elsys-ems",
            envelope="helium",
            decoder="buildings.elsys",
            type="IndoorEnvironmentObserved",
            attributes={
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "waterleak": "waterLeak",
                "pulseAbs": "pulseCount",
                "accMotion": "motionCount",
                "vdd": "batteryVoltage",
            },
        ),
        Profile(
            name="buildings.elsys-ers",
            envelope="chirpstack3",
            decoder="buildings.elsys",
            type="IndoorEnvironmentObserved",
            attributes={
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "light": "illuminance",
                "motion": "motionCount",
                "co2": "co2",
                "vdd": "batteryVoltage",
            },
        ),
        Profile(
            name="buildings.json",
            envelope="plain",
            decoder="buildings.json",
            type="IndoorEnvironmentObserved",
            attributes={
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "co2": "co2",
                "illuminance": "illuminance",
                "leak": "waterLeak",
                "pulses": "pulseCount",
                "battery": "batteryVoltage",
            },
        ),
    ),
)
