"""The resident's page and the page of interfaces: honest, in every language, without script."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from html import unescape
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model import access
from shahar.model.system import Catalogue
from shahar.values.bounds import BOUNDS
from shahar.web.docs import Server, examples
from shahar.web.pages import draw, view
from shahar.web.pages.words import LANGUAGES
from shahar.web.resident import resident_page
from tests.unit.web import sample
from tests.unit.web.sample import AT, CATALOGUE, CITY, PACE, Face, air

HEAVY = (61.5, 44.0, 20.0)


def page_of(*values: float, language: str = "uz") -> str:
    return resident_page(CITY, PACE, air(*values), language, catalogue=CATALOGUE)


def text_of(page: str) -> str:
    """What a reader sees, with single spaces."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.split("<body>")[1])))


def sentence(page: str) -> str:
    return text_of("<body>" + page.split('class="sentence"')[1].split("</p>")[0].partition(">")[2]).strip()


def ask(face: Face, address: str, actor: access.Actor = access.PUBLIC, **headers: str) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(sample.application(face, actor))
        async with httpx.AsyncClient(transport=transport, base_url="http://city.example") as client:
            return await client.get(address, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((61.5, 44.0, 20.0), "Havo ogʻir. Eng yomon joyda zararli. Boshqa xizmatlardan hali maʼlumot yoʻq."),
        ((44.0, 44.0, 44.0), "Havo ogʻir. Boshqa xizmatlardan hali maʼlumot yoʻq."),
        ((3.0, 4.0, 5.0), "Havo toza. Boshqa xizmatlardan hali maʼlumot yoʻq."),
    ],
)
def test_the_city_speaks_in_a_sentence_that_does_not_hide_the_worst_place(
    values: tuple[float, ...], expected: str
) -> None:
    assert sentence(page_of(*values)) == expected


def test_a_clause_is_a_link_in_the_colour_of_its_state() -> None:
    page = page_of(*HEAVY)
    assert '<a class="minor" href="#figure">Havo ogʻir.</a>' in page
    assert '<a class="major" href="#stations">Eng yomon joyda zararli.</a>' in page
    assert '<a class="fine" href="#figure">Havo toza.</a>' in page_of(3.0)


def test_a_figure_stands_with_unit_time_age_source_and_stations() -> None:
    told = text_of(resident_page(CITY, PACE, air(*HEAVY, of=4), "uz", catalogue=CATALOGUE))
    assert (
        "Chang, sutkalik: 44 µg/m³ , stansiyalar medianasi. 4 stansiyadan 3 tasi hisobda. "
        "Oʻlchangan: 22-noyabr, 06:32, 8 soat oldin. Manba: Shahar kuzatuvi." in told
    )
    assert "Jim, yangi oʻlchovi yoʻq: 1." in told
    assert "Meʼyordan yuqori: 3 tadan 3 tasi." in told


def test_without_a_fresh_measurement_the_page_says_so_and_shows_no_figure() -> None:
    page = resident_page(CITY, PACE, None, "uz", catalogue=CATALOGUE)
    assert sentence(page).startswith("Hozir yangi oʻlchov yoʻq.")
    assert "µg/m³" not in page


def test_services_and_units_without_data_say_so() -> None:
    answer = ask(Face(air(*HEAVY)), "/?lang=uz")
    told = text_of(answer.text)
    for service in ("Suv", "Issiqlik", "Elektr", "Transport"):
        assert f"{service} hali maʼlumot yoʻq" in told
    assert "Havo 3 obyekt Shahar havosi. Boshqa joyda oʻlchangan: Grenoble, France." in told
    assert "Bahor shahri maʼlumot bor" in told
    assert "Qoraqalpogʻiston Respublikasi hali maʼlumot yoʻq" in told
    assert "Qaraqalpaqstan Respublikası ele maǵlıwmat joq" in text_of(ask(Face(None), "/?lang=kaa").text)


def test_a_service_that_has_come_is_not_listed_as_missing() -> None:
    water = replace(sample.SYSTEM, key="water", indicators=())
    catalogue = Catalogue(
        systems=(sample.SYSTEM, water), words=dict.fromkeys(("breath", "water"), CATALOGUE.words["breath"])
    )
    page = resident_page(CITY, PACE, None, "uz", catalogue=catalogue)
    assert "<b>Suv</b>" not in page
    assert "<b>Issiqlik</b>" in page


def test_a_demo_says_that_it_is_one_and_what_its_clock_shows() -> None:
    told = text_of(page_of(*HEAVY))
    assert "Sinov maʼlumotlari Shahar soati: 22-noyabr, 14:32. U 60 marta tez yuradi. " in told
    assert "Haqiqiy vaqt: 27-noyabr, 14:32." in told
    caught_up = replace(PACE, wall=AT, speed=1.0, live=True)
    assert "haqiqiy vaqtga yetib oldi." in text_of(resident_page(CITY, caught_up, None, "uz", catalogue=CATALOGUE))
    real = resident_page(replace(CITY, demo=False), caught_up, None, "uz", catalogue=CATALOGUE)
    assert "Sinov" not in real
    assert 'class="demo"' not in real


def test_a_city_that_is_made_up_says_so_before_its_first_sentence() -> None:
    page = resident_page(replace(CITY, settings={"simulated": True}), PACE, air(3.0), "uz", catalogue=CATALOGUE)
    assert page.index('class="made-up"') < page.index('class="sentence"')


def test_a_closed_city_shows_no_figure_to_a_stranger() -> None:
    answer = ask(Face(air(*HEAVY)), "/?lang=en", access.ANONYMOUS)
    assert answer.is_success
    assert sentence(answer.text) == "This city shows its measurements only to those who sign in."
    assert "µg/m³" not in answer.text
    assert 'href="/signin"' in answer.text


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_speaks_each_language_and_names_it(language: str, path: str) -> None:
    answer = ask(Face(air(*HEAVY)), f"{path}?lang={language}")
    assert answer.is_success
    assert f'<html lang="{language}">' in answer.text
    assert answer.headers["content-language"] == language
    assert answer.headers["set-cookie"].startswith(f"shahar_lang={language};")
    assert re.search(rf'<a href="{path}\?lang={language}"[^>]* aria-current="true">', answer.text)
    assert "{" not in text_of(answer.text.split("<pre")[0])


def test_a_language_that_was_not_asked_for_is_not_remembered() -> None:
    for address in ("/", "/?lang=xx"):
        answer = ask(Face(None), address, accept_language="ru")
        assert answer.headers["content-language"] == "ru"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_needs_no_script_and_may_run_none(path: str) -> None:
    answer = ask(Face(air(*HEAVY)), path)
    assert not re.search(r"<script|\son\w+=|\sstyle=|<style|javascript:", answer.text)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy


def test_what_others_wrote_is_escaped() -> None:
    page = page_of(61.5, 44.0)
    assert "Maktab &lt;7&gt; &amp; koʻcha" in page
    assert "<7>" not in page


def test_every_link_within_a_page_has_its_end() -> None:
    for _, face in sample.situations():
        for path in ("/", "/docs"):
            page = ask(face, path).text
            ids = re.findall(r'\sid="([^"]+)"', page)
            assert len(ids) == len(set(ids))
            assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_style_sheets_are_named_by_their_contents_and_kept() -> None:
    face = Face(None)
    page = ask(face, "/").text
    addresses = set(re.findall(r'href="(/static/pages/[^"]+)"', page))
    assert {address.partition("?")[0].rpartition("/")[2] for address in addresses} == {
        "tokens.css",
        "resident.css",
        "mark.svg",
    }
    for address in addresses:
        answer = ask(face, address)
        assert answer.headers["cache-control"].endswith("immutable")
        assert ask(face, address.partition("?")[0]).headers["cache-control"] == "no-cache"
        again = ask(face, address, if_none_match=answer.headers["etag"])
        assert (again.content, again.headers["etag"]) == (b"", answer.headers["etag"])
    assert ask(face, "/").headers["cache-control"] == "no-cache"


def test_the_examples_carry_the_server_and_what_is_installed() -> None:
    told = examples(CITY, CATALOGUE, Server("https://air.example", "air.example", 2883), AT)
    assert all("air.example" in command for command in told.values())
    assert "type=https://example.org/Mast'" in told["now"]
    assert "attrs=https://example.org/dust'" in told["history"]
    assert "timeAt=2026-11-20T00:00:00Z" in told["history"]
    assert '"pm":31.4' in told["mqtt"]
    assert "-p 2883" in told["mqtt"]
    assert examples(CITY, Catalogue(), Server("http://a", "a"), AT)["now"]


def test_the_interfaces_page_shows_every_bound_and_who_may_read() -> None:
    page = ask(Face(None), "/docs?lang=en").text
    assert all(f"<code>{name}</code>" in page for name in BOUNDS)
    assert "Reading needs no key here." in page
    assert "Reading and writing both need a key here." in ask(Face(None), "/docs?lang=en", access.ANONYMOUS).text


# -- drawings ---------------------------------------------------------------------------------------------------


def test_a_gap_in_a_series_stays_a_gap() -> None:
    day = draw.DAY_MS
    drawn = draw.chart([(0, 10.0), (day, 20.0), (4 * day, 30.0)], 15)
    assert drawn is not None
    slot = draw.WIDTH / 5
    assert [round((bar.x - drawn.bars[0].x) / slot) for bar in drawn.bars] == [0, 1, 4]
    assert [bar.over_height > 0 for bar in drawn.bars] == [False, True, True]
    assert (drawn.daily, drawn.slots, drawn.peak.value) == (True, 5, 30.0)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.floats(0, 5000)), min_size=0, max_size=80),
    st.none() | st.floats(1, 500),
)
def test_bars_stay_within_the_drawing(points: list[tuple[int, float]], limit: float | None) -> None:
    drawn = draw.chart([(hour * 3_600_000, value) for hour, value in points], limit)
    for bar in drawn.bars if drawn else ():
        assert -0.1 <= bar.x <= bar.x + bar.width <= draw.WIDTH + 0.1
        assert bar.height >= -0.1
        assert abs(bar.y + bar.over_height + bar.height - draw.HEIGHT) < 0.2


def test_one_value_is_no_series() -> None:
    assert draw.chart([], 15) is None
    assert draw.chart([(0, 1.0)], 15) is None


def test_the_shipped_outlines_are_light_and_of_all_units() -> None:
    drawn = draw.outlines()
    assert drawn is not None
    assert len(drawn.paths) == 14
    assert sum(map(len, drawn.paths.values())) < 30_000
    x, y = drawn.place(69.26, 41.28)
    assert 0 < x < drawn.width
    assert 0 < y < drawn.height


def test_what_is_borrowed_or_made_up_is_not_counted_as_the_citys_own() -> None:
    objects: list[dict[str, Any]] = [
        {"system": "breath", "state": "normal"},
        {"system": "breath", "state": "stale", "borrowed": None},
        {"system": "breath", "state": "nodata"},
        {"system": "breath", "state": "normal", "borrowed": {"place": "Oʻzga shahar"}},
        {"system": "breath", "state": "normal", "simulated": True},
    ]
    (one,) = view.presences(CATALOGUE, objects)
    assert (one.own, one.simulated, one.borrowed) == (2, 1, ("Oʻzga shahar",))
