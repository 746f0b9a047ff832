"""Air of a city: municipal air quality stations and the weather. What it measures and how: README.md in this folder."""

from __future__ import annotations

from shahar.kit import Indicator, Profile, Step, System

from .decoders import OPEN_METEO, STATION, WEATHER, WYRES
from .models import STATION as STATION_MODEL
from .models import WEATHER_STATION

DAY_S = 86400

PM25_STEPS = (
    Step(word="step.clean", advice="advice.clean", below=9.1),
    Step(word="step.moderate", advice="advice.moderate", below=35.5),
    Step(word="step.heavy", advice="advice.heavy", below=55.5),
    Step(word="step.harmful", advice="advice.harmful", below=125.5),
    Step(word="step.dangerous", advice="advice.dangerous"),
)
"""EPA cuts a concentration to one decimal before it looks: 9.09 is 9.0 and good. A step below 9.1 says the same."""

EPA = (
    "US EPA Air Quality Index, PM2.5 over 24 hours, breakpoints of the rule of 6 March 2024 (89 FR 16202; 40 CFR "
    "part 58, appendix G): good to 9.0, moderate to 35.4, unhealthy for sensitive groups to 55.4, unhealthy to 125.4; "
    "very unhealthy (to 225.4) and hazardous are one step here"
)
WHO = (
    "WHO global air quality guidelines, 2021, ISBN 978-92-4-003422-8: PM2.5, 24-hour mean 15 microgram per cubic "
    "metre, not to be exceeded on more than 3 to 4 days a year (99th percentile)"
)

SYSTEM = System(
    key="air",
    kit=1,
    title="air.title",
    about="air.about",
    icon="M3 8h10a3 3 0 1 0-3-3M3 12h15a3 3 0 1 1-3 3M3 16h7a2.5 2.5 0 1 1-2.5 2.5",
    models=(STATION_MODEL, WEATHER_STATION),
    decoders=(STATION, WEATHER, OPEN_METEO, WYRES),
    indicators=(
        Indicator(
            key="pm25",
            title="indicator.pm25",
            type="AirQualityObserved",
            attribute="pm25",
            statistic="median",
            unit="GQ",
            over_s=DAY_S,
            fresh_s=2 * DAY_S,  # the municipal set gives one value a day, and gives it the day after
            limit=15,
            limit_word="limit.who",
            limit_source=WHO,
            steps=PM25_STEPS,
            steps_source=EPA,
        ),
        Indicator(
            key="above",
            title="indicator.above",
            type="AirQualityObserved",
            attribute="pm25",
            statistic="share",
            when=(">", 15),
            unit="P1",
            over_s=DAY_S,
            fresh_s=2 * DAY_S,
        ),
        Indicator(
            key="temperature",
            title="indicator.temperature",
            type="WeatherObserved",
            attribute="temperature",
            statistic="median",
            unit="CEL",
            fresh_s=3 * 3600,
        ),
        Indicator(
            key="wind",
            title="indicator.wind",
            type="WeatherObserved",
            attribute="windSpeed",
            statistic="median",
            unit="MTS",
            fresh_s=3 * 3600,
        ),
    ),
    profiles=(
        Profile(
            name="air.station",
            envelope="plain",
            decoder="air.station",
            type="AirQualityObserved",
            attributes={
                "pm25": "pm25",
                "pm10": "pm10",
                "no2": "no2",
                "o3": "o3",
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "rain": "precipitation",
            },
        ),
        Profile(
            name="air.weather",
            envelope="plain",
            decoder="air.weather",
            type="WeatherObserved",
            attributes={
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "wind_speed": "windSpeed",
                "wind_direction": "windDirection",
                "pressure": "atmosphericPressure",
                "precipitation": "precipitation",
            },
        ),
        Profile(
            name="air.open-meteo",
            envelope="plain",
            decoder="air.open-meteo",
            type="WeatherObserved",
            attributes={
                "temperature": "temperature",
                "humidity": "relativeHumidity",
                "wind_speed": "windSpeed",
                "wind_direction": "windDirection",
                "pressure": "atmosphericPressure",
                "precipitation": "precipitation",
            },
        ),
        Profile(
            name="air.wyres",
            envelope="chirpstack3-hex",
            decoder="air.wyres",
            type="WeatherObserved",
            attributes={
                "temperature": "temperature",
                "pressure": "atmosphericPressure",
                "battery": "batteryVoltage",
            },
        ),
    ),
)
