"""The operations centre in a real browser, with a real demo city behind it: what an operator is promised."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from shahar import plugins
from shahar.web.operations import PAGE
from shahar.web.pages.words import LANGUAGES
from tests.running import City

pytestmark = pytest.mark.browser

PHONE, DESK, WALL = (390, 844), (1366, 768), (1920, 1080)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
STATION = "urn:ngsi-ld:AirQualityObserved:tashkent-042112022"
PM25 = "https://smartdatamodels.org/dataModel.Environment/pm25"
ARRIVES_MS = 5_000
DRAWN_MS = 20_000
"""A map without a graphics card, on two processor cores that do other things besides."""
NO_MAP = (
    "const real = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext ="
    " function (kind, ...more) { return /webgl/.test(kind) ? null : real.call(this, kind, ...more) }"
)
"""A browser without WebGL. Most tests use it: drawing the map by the processor takes seconds of every page."""
WORDS = Path(__file__).parents[2] / "ui" / "src" / "words"

Opened = Callable[..., Page]
Contexts = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A demo city that has loaded its thirty days."""
    if not PAGE.is_file():
        pytest.skip("the browser part is not built: `make test` builds it")
    with City(tmp_path_factory.mktemp("demo"), verb="demo", mqtt=True) as running:
        yield running


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> Iterator[Contexts]:
    """One context for each kind of browser that is wanted; it keeps what it has fetched and compiled."""
    kept: dict[str, BrowserContext] = {}

    def find(*, drawn: bool = False, **more: Any) -> BrowserContext:
        kind = f"{drawn} {more}"
        if kind not in kept:
            kept[kind] = browser.new_context(reduced_motion="reduce", **more)
            if not drawn:
                kept[kind].add_init_script(NO_MAP)
        return kept[kind]

    yield find
    for context in kept.values():
        context.close()


@pytest.fixture
def opened(contexts: Contexts, city: City) -> Iterator[Opened]:
    """Opens the page; afterwards it has complained of nothing and has asked no other machine for anything."""
    pages: list[Page] = []
    told: list[str] = []
    asked: list[str] = []

    def show(query: str = "lang=uz", size: tuple[int, int] = DESK, **kind: Any) -> Page:
        page = contexts(**kind).new_page()
        pages.append(page)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda line: told.append(line.text) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(f"{city.base}/ops?{query}")
        page.locator(".list li").first.wait_for()
        return page

    yield show
    for page in pages:
        page.close()
    assert not [line for line in told if "GL Driver Message" not in line]  # how fast a graphics driver finds itself
    assert asked
    assert not [url for url in asked if not url.startswith((city.base + "/", "blob:", "data:"))]


def row(page: Page, name: str) -> Locator:
    """The row of an object in the list."""
    return page.locator(".list li button", has_text=name)


def card(page: Page) -> Locator:
    """The open card."""
    return page.get_by_role("article")


def wider(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


def now_of(page: Page) -> datetime:
    """Where the page says that the city's clock stands."""
    told = page.locator(".clock time").get_attribute("datetime")
    assert told is not None
    return datetime.fromisoformat(told)


# -- it lives ---------------------------------------------------------------------------------------------------------


def test_the_citys_clock_goes_on_and_says_how_fast(opened: Opened) -> None:
    page = opened()
    before = now_of(page)
    page.wait_for_function(
        "before => new Date(document.querySelector('.clock time').dateTime) - before > 60_000",
        arg=before.timestamp() * 1000,
        timeout=ARRIVES_MS,
    )
    assert now_of(page) - before < timedelta(hours=1)
    expect(page.locator(".clock")).to_contain_text("60×")


def test_a_new_value_is_on_the_page_within_five_seconds(opened: Opened, city: City) -> None:
    page = opened()
    place = row(page, "Gʻafur Gʻulom bogʻi")
    expect(place).not_to_contain_text("131")
    at = now_of(page).strftime("%Y-%m-%dT%H:%M:%SZ")
    reading = {PM25: {"type": "Property", "value": 131.0, "unitCode": "GQ", "observedAt": at}}
    assert city.call("POST", f"/ngsi-ld/v1/entities/{STATION}/attrs", reading).status == 204
    expect(place).to_contain_text("131", timeout=ARRIVES_MS)
    expect(place).to_contain_text("Xavfli")


def test_every_object_of_the_city_is_in_the_list(opened: Opened, city: City) -> None:
    page = opened()
    names = {one["name"]["uz"] for one in city.call("GET", "/ops/api/objects").json()["objects"]}
    assert len(names) >= 13
    assert set(page.locator(".list li .name").all_inner_texts()) == names


# -- its figures ------------------------------------------------------------------------------------------------------


def test_a_tile_says_value_unit_age_limit_and_the_time_that_its_line_covers(opened: Opened) -> None:
    tile = opened().locator(".tile").first
    for part in ("PM2.5", "µg/m³", "oldin", "≤ 15", "30 kun"):
        expect(tile).to_contain_text(part)
    drawn = tile.locator("svg path").last.get_attribute("d")
    assert drawn is not None
    assert drawn.count("L") >= 20


def test_a_tile_without_a_value_says_why_and_stands_behind_those_with_one(opened: Opened, city: City) -> None:
    page = opened()
    tiles = {one["title"]["uz"]: one for one in city.call("GET", "/ops/api/tiles").json()["tiles"]}
    shown = [text.split("\n")[0].strip() for text in page.locator(".tile").all_inner_texts()]
    silent = [tiles[title]["value"] is None for title in shown]
    assert silent == sorted(silent)
    assert True in silent
    expect(page.locator(".tile", has_text="Xona harorati")).to_contain_text("boshqa joyda oʻlchangan: Grenoble, France")


def test_an_object_opens_its_card_with_value_unit_age_and_source(opened: Opened) -> None:
    page = opened()
    row(page, "Bektemir tumani 578-bogʻcha").click()
    expect(card(page).get_by_role("heading", level=2)).to_have_text("Bektemir tumani 578-bogʻcha")
    expect(card(page).locator(".figure")).to_contain_text(re.compile(r"\d+.*µg/m³", re.DOTALL))
    for part in ("oldin", "manba: Tashkent city monitoring", "asl oʻlchov vaqti", "Havo"):
        expect(card(page)).to_contain_text(part)


def test_a_chart_begins_with_the_period_that_fits_its_series(opened: Opened) -> None:
    page = opened()
    row(page, "Bektemir tumani 578-bogʻcha").click()
    expect(card(page).get_by_role("button", pressed=True, name="30 kun")).to_be_visible()
    expect(card(page).locator(".chart canvas")).to_be_visible()
    row(page, "Perret minorasi, Grenobl").click()
    expect(card(page).get_by_role("button", pressed=True, name="24 soat")).to_be_visible()
    card(page).get_by_role("button", name="7 kun").click()
    expect(card(page).get_by_role("button", pressed=True, name="7 kun")).to_be_visible()


def test_what_was_measured_elsewhere_carries_its_place_and_licence(opened: Opened) -> None:
    page = opened()
    place = row(page, "Perret minorasi, Grenobl")
    for part in ("Grenoble, France", "ODbL 1.0"):
        expect(place).to_contain_text(part)
    place.click()
    for part in ("Grenoble, France shahrida oʻlchangan, bu yerda emas", "ODbL 1.0", "CampusIoT"):
        expect(card(page)).to_contain_text(part)


def pressed_at(page: Page, name: str) -> tuple[float, float]:
    """Where on the page the pin of an object lies, told by the line that leads from it to its card."""
    row(page, name).click()
    line = page.locator(".leader line")
    line.wait_for(state="attached", timeout=DRAWN_MS)
    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    x, y = (float(line.get_attribute(side) or 0) for side in ("x1", "y1"))
    page.keyboard.press("Escape")
    expect(card(page)).to_have_count(0)
    return stage["x"] + x - 20, stage["y"] + y


def test_the_map_opens_the_card_of_the_object_that_is_pressed(opened: Opened) -> None:
    page, name = opened(drawn=True), "Olmazor tumani 423-bogʻcha"
    x, y = pressed_at(page, name)
    tip = page.locator(".tip", has_text=name)
    for step in range(DRAWN_MS // 200):  # until the pin is drawn
        page.mouse.move(x + step % 3, y)
        page.wait_for_timeout(200)
        if tip.count():
            break
    page.mouse.click(x, y)
    expect(card(page).get_by_role("heading", level=2)).to_have_text(name)


def test_without_a_drawn_map_the_page_says_so_and_the_list_has_everything(opened: Opened) -> None:
    page = opened()
    expect(page.locator(".failed")).to_contain_text("WebGL")
    row(page, "Bektemir tumani 578-bogʻcha").click()
    expect(card(page)).to_be_visible()


# -- words ------------------------------------------------------------------------------------------------------------


@cache
def keys() -> list[str]:
    """Every key of a word that this page or a system has."""
    own = [*json.loads((WORDS / "uz.json").read_text("utf-8"))]
    found = plugins.discover().catalogue.words.values()
    return [key for key in [*own, *(key for words in found for key in words["uz"])] if "." in key]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_is_missing(opened: Opened, language: str) -> None:
    page = opened(f"lang={language}")
    row(page, "423").click()
    expect(card(page).locator("figcaption")).not_to_be_empty()
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    text = page.evaluate(
        "document.body.innerText + ['aria-label', 'title', 'placeholder'].flatMap(name =>"
        " [...document.querySelectorAll(`[${name}]`)].map(one => ' ' + one.getAttribute(name))).join('')"
    )
    assert not [key for key in keys() if re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", text)]
    assert not re.search(r"undefined|NaN|\[object|\{\w+[:}]", text)
    assert page.locator("html").get_attribute("lang") == {"uz": "uz-Latn"}.get(language, language)


def test_a_language_is_chosen_by_a_press_and_kept(opened: Opened) -> None:
    page = opened("", locale="en-GB")
    page.get_by_role("button", name="Русский").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ташкент")
    page.goto(page.url.split("?")[0])
    expect(page.get_by_role("heading", level=1)).to_have_text("Ташкент")


# -- keyboard ---------------------------------------------------------------------------------------------------------


def test_an_object_is_found_opened_and_closed_by_keyboard_alone(opened: Opened) -> None:
    page = opened()
    page.keyboard.press("/")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("ғафур")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(card(page).get_by_role("heading", level=2)).to_have_text("Gʻafur Gʻulom bogʻi")
    expect(card(page).get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(card(page)).to_have_count(0)


def test_digits_switch_layers_and_are_letters_where_one_types(opened: Opened) -> None:
    page = opened()
    air = page.get_by_role("switch").first
    expect(air).to_have_attribute("aria-checked", "true")
    page.keyboard.press("1")
    expect(air).to_have_attribute("aria-checked", "false")
    expect(row(page, "Bektemir tumani 578-bogʻcha")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("1")
    expect(air).to_have_attribute("aria-checked", "false")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(row(page, "Bektemir tumani 578-bogʻcha")).to_have_count(1)


def test_the_notice_and_the_sources_open_by_keyboard_and_escape_closes_one_thing_at_a_time(opened: Opened) -> None:
    page = opened()
    row(page, "Bektemir tumani 578-bogʻcha").click()
    for opener, part in ((".demo", "oldingi yillarda"), (".sources", "Open-Meteo.com (CC BY 4.0)")):
        page.locator(f"{opener} summary").focus()
        page.keyboard.press("Enter")
        expect(page.locator(opener)).to_have_js_property("open", True)
        expect(page.locator(f"{opener} .panel")).to_contain_text(part)
        page.keyboard.press("Escape")
        expect(page.locator(opener)).to_have_js_property("open", False)
        expect(page.locator(f"{opener} summary")).to_be_focused()
    expect(card(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page)).to_have_count(0)


def test_the_wall_mode_is_left_by_escape(opened: Opened) -> None:
    page = opened("lang=uz&wall=1", WALL)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("navigation")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("navigation")).to_be_visible()


# -- for everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "query"),
    [
        (PHONE, "lang=uz"),
        (DESK, "lang=uz"),
        (WALL, "lang=uz"),
        (PHONE, "lang=ru"),
        (DESK, "lang=ru"),
        (WALL, "lang=ru&wall=1"),
    ],
    ids=str,
)
def test_nothing_stands_in_anybodys_way(opened: Opened, axe: str, size: tuple[int, int], query: str) -> None:
    page = opened(query, size, drawn=(size, query) == (DESK, "lang=uz"), bypass_csp=True)
    row(page, "423").click()
    expect(card(page).locator(".chart canvas")).to_be_visible()
    assert wider(page) <= 0
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(axe)
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", RULES
    )
    told = [(one["id"], [node["target"] for node in one["nodes"]][:5]) for one in found["violations"]]
    assert not told


def test_the_page_is_not_wider_than_the_narrowest_window(opened: Opened) -> None:
    page = opened("lang=ru", (320, 568))
    row(page, "423").click()
    expect(card(page).locator("figcaption")).not_to_be_empty()
    assert wider(page) <= 0
