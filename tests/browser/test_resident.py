"""The public pages in a real browser: readable by everybody, at every width, without script, by keyboard."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page
from starlette.types import ASGIApp, Receive, Scope, Send

from shahar.web.pages.words import LANGUAGES
from tests.unit.web import sample

pytestmark = pytest.mark.browser

PHONE, DESK, WALL = (390, 844), (1366, 768), (1920, 1080)
ZOOMED = (320, 256)  # 1280 by 1024 at 400 %
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LONG = {"uz": "Qoraqalpogʻistonningengshimoliydagikattashahri"}
CASES = dict(sample.situations())
CASES["long"] = replace(CASES["heavy"], city=replace(sample.CITY, name=LONG))


def by_path(scope_to: dict[str, ASGIApp]) -> ASGIApp:
    """One application for all situations: `?at=heavy` chooses."""

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(pair.split("=", 1) for pair in scope["query_string"].decode().split("&") if "=" in pair)
        await scope_to[asked.get("at", "heavy")](scope, receive, send)

    return choose


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server of the pages on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = by_path({name: sample.application(face) for name, face in CASES.items()})
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


def opened(browser: Browser, address: str, size: tuple[int, int], **context: Any) -> tuple[Page, list[str]]:
    """A page, and what its console complains of."""
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}, **context).new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    response = page.goto(address)
    assert response is not None
    assert response.ok
    return page, told


def wide(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


@pytest.mark.parametrize("size", [PHONE, DESK], ids=str)
@pytest.mark.parametrize("path", [*(f"/?at={name}" for name in CASES), "/docs?at=heavy"])
def test_nothing_stands_in_anybodys_way(
    browser: Browser, axe: str, address: str, path: str, size: tuple[int, int]
) -> None:
    page, _ = opened(browser, address + path, size, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(axe)
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    page.context.close()
    told = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_is_wider_than_its_window_nor_complains(browser: Browser, address: str, language: str) -> None:
    for path in ("/", "/docs"):
        page, told = opened(browser, f"{address}{path}?lang={language}", PHONE)
        for width, height in (PHONE, DESK, WALL, ZOOMED):
            page.set_viewport_size({"width": width, "height": height})
            assert wide(page) == 0, width
        assert told == []
        page.context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentence_and_actions_are_on_a_phones_first_screen(browser: Browser, address: str, language: str) -> None:
    page, _ = opened(browser, f"{address}/?lang={language}", PHONE)
    for part in (".sentence", ".filled", ".outlined >> nth=1"):
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE[1], part
    page.context.close()


def test_what_can_be_touched_is_large_enough(browser: Browser, address: str) -> None:
    for path in ("/", "/docs"):
        page, _ = opened(browser, address + path, PHONE)
        small = page.evaluate(
            """() => [...document.querySelectorAll('nav a, .act a, summary')]
               .map(one => [one.textContent.trim(), one.getBoundingClientRect()])
               .filter(([, box]) => box.width < 44 || box.height < 44).map(([text]) => text)"""
        )
        assert small == []
        page.context.close()


def test_everything_is_there_without_script(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/?lang=uz", PHONE, java_script_enabled=False)
    assert page.locator("h1").inner_text() == "Hozir shahrimizda"
    page.locator("summary >> nth=0").click()
    assert page.locator("details table >> nth=0").is_visible()
    page.locator("a", has_text="Русский").click()
    assert page.locator("h1").inner_text() == "Сейчас в городе"
    page.goto(f"{address}/docs")  # the choice is remembered
    assert page.locator("h1").inner_text() == "Открытые интерфейсы"
    page.context.close()


def test_the_keyboard_reaches_the_main_part_at_once(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/?lang=en", DESK)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the main part"
    box = skip.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "The havo is ogʻir."  # the sample's system speaks Uzbek alone
    page.context.close()


def test_a_long_name_does_not_break_the_page(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/?at=long", PHONE)
    assert wide(page) == 0
    page.context.close()
