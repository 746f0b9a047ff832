"""The pages and addresses about accounts, over HTTP in memory with real accounts behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shahar.model.access import HOUSE
from shahar.services.accounts import Accounts
from shahar.values.errors import ShaharError
from shahar.values.instants import SECOND
from shahar.web.accounts import ROUTES
from shahar.web.pages.words import LANGUAGES
from shahar.web.session import identify
from tests.engines import store_at

NOW = 1_800_000_000 * SECOND
OURS = {"origin": "http://city.example"}
Story = Callable[[httpx.AsyncClient, Accounts], Awaitable[None]]


@dataclass(frozen=True)
class Parts:
    """As much of the parts as these endpoints ask for."""

    accounts: Accounts

    def wall(self) -> int:
        """The story's only moment."""
        return NOW


class Outer:
    """The outer layer in small: who asks is put into the scope."""

    def __init__(self, inner: ASGIApp, parts: Parts) -> None:
        self.inner, self.parts = inner, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify, then hand on; an error of ours is told by its type."""
        scope["shahar.parts"] = self.parts
        try:
            scope["shahar.actor"] = await identify(scope, self.parts.accounts, NOW)
        except ShaharError as problem:
            await _told(None, problem)(scope, receive, send)
            return
        await self.inner(scope, receive, send)


def _told(_request: Request | None, problem: Exception) -> Response:
    return JSONResponse({"type": type(problem).__name__, "detail": str(problem)}, 400)


def with_city(folder: Path, story: Story, base: str = "http://city.example") -> None:
    async def run() -> None:
        db = store_at(folder / "city.db")
        await db.open()
        try:
            accounts = Accounts(db, access="closed")
            routes = [Route(path, endpoint, methods=list(methods)) for methods, path, endpoint, _ in ROUTES]
            app = Outer(Starlette(routes=routes, exception_handlers={ShaharError: _told}), Parts(accounts))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
                await story(client, accounts)
            await accounts.settle()
        finally:
            await db.close()

    asyncio.run(run())


async def sign_in(client: httpx.AsyncClient, accounts: Accounts) -> None:
    """The administrator comes by the first link; the client keeps the cookie."""
    token = await accounts.first_link(NOW)
    answer = await client.post("/welcome", data={"token": str(token), "label": "Nodira"}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ops")


def refusal(answer: httpx.Response) -> str:
    """The type of the error that an answer tells."""
    told: dict[str, Any] = answer.json()
    return str(told.get("type"))


def test_the_first_link_leads_to_a_session(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        token = await accounts.first_link(NOW)
        for _round in range(2):
            page = await client.get("/welcome", params={"token": str(token)})
            assert page.status_code == 200
            assert f'value="{token}"' in page.text
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["referrer-policy"] == "same-origin"
        await sign_in(client, accounts)
        signed = await client.get("/signin")
        assert "Nodira" in signed.text
        again = await client.post("/welcome", data={"token": str(token), "label": "Thief"}, headers=OURS)
        assert again.headers["location"] == "/welcome"
        assert 'name="token"' not in (await client.get("/welcome", params={"token": str(token)})).text

    with_city(tmp_path, story)


def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        token = await accounts.first_link(NOW)
        form = {"token": str(token), "label": "Nodira"}
        answer = await client.post("/welcome", data=form, headers={"origin": "https://city.example"})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-shahar_session=shs_")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))

    with_city(tmp_path, story, "https://city.example")


def test_a_name_is_asked_for_again_and_the_link_is_kept(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        token = await accounts.first_link(NOW)
        page = await client.post("/welcome", data={"token": str(token), "label": " "}, headers=OURS)
        assert 'aria-invalid="true"' in page.text
        await accounts.use_link(str(token), "Nodira", NOW)

    with_city(tmp_path, story)


def test_a_key_or_a_pasted_link_signs_in(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        _, key = await accounts.make_key("Ali", "operator", "", ["*"], 9, NOW, by=HOUSE)
        wrong = await client.post("/signin", data={"credential": key[:-1] + "*", "next": "/ops?wall=1"}, headers=OURS)
        assert wrong.headers["location"] == "/signin?wrong=&next=%2Fops%3Fwall%3D1"
        page = await client.get(wrong.headers["location"])
        assert 'role="alert"' in page.text
        assert 'value="/ops?wall=1"' in page.text
        right = await client.post("/signin", data={"credential": f" {key} ", "next": "/ops?wall=1"}, headers=OURS)
        assert right.headers["location"] == "/ops?wall=1"
        assert "Ali" in (await client.get("/signin")).text
        link = await accounts.make_link("operator", "", "Vali", NOW, by=HOUSE)
        for pasted in (link, f"http://city.example/welcome?token={link}"):
            went = await client.post("/signin", data={"credential": pasted}, headers=OURS)
            assert went.headers["location"] == f"/welcome?token={link}"

    with_city(tmp_path, story)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/", "/"),
        ("/ops/alarms?x=1", "/ops/alarms?x=1"),
        ("", "/ops"),
        ("//evil.example", "/ops"),
        ("/\\evil.example", "/ops"),
        ("https://evil.example", "/ops"),
        ("javascript:alert(1)", "/ops"),
        ("/\n/evil.example", "/ops"),
        ("/ops\r\nset-cookie: a=b", "/ops"),
    ],
)
def test_signing_in_leads_to_addresses_of_ours_alone(tmp_path: Path, given: str, expected: str) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        _, key = await accounts.make_key("Ali", "operator", "", ["*"], 9, NOW, by=HOUSE)
        answer = await client.post("/signin", data={"credential": key, "next": given}, headers=OURS)
        assert answer.headers["location"] == expected

    with_city(tmp_path, story)


def test_signing_out_ends_the_session(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        await sign_in(client, accounts)
        token = client.cookies["shahar_session"]
        assert refusal(await client.post("/signout", headers={"origin": "http://evil.example"})) == "Forbidden"
        assert (await client.post("/signout", headers=OURS)).headers["location"] == "/"
        assert "shahar_session" not in client.cookies
        client.cookies.set("shahar_session", token)
        assert refusal(await client.get("/api/keys")) == "Unauthenticated"
        assert (await client.post("/signout", headers=OURS)).status_code == 303

    with_city(tmp_path, story)


@pytest.mark.parametrize("path", ["/welcome", "/signin"])
def test_a_foreign_page_cannot_sign_somebody_in(tmp_path: Path, path: str) -> None:
    async def story(client: httpx.AsyncClient, _accounts: Accounts) -> None:
        answer = await client.post(path, data={"credential": "x"}, headers={"sec-fetch-site": "cross-site"})
        assert refusal(answer) == "Forbidden"

    with_city(tmp_path, story)


def test_the_pages_speak_each_language_and_escape_what_they_tell(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        link = await accounts.make_link("operator", "", "<b>Vali</b> & co", NOW, by=HOUSE)
        for language in LANGUAGES:
            page = await client.get("/welcome", params={"token": link, "lang": language})
            assert f'<html lang="{language}">' in page.text
            assert page.headers["content-language"] == language
            assert "&lt;b&gt;Vali&lt;/b&gt; &amp; co" in page.text
            assert (await client.get("/welcome", params={"lang": language})).status_code == 200

        async def check(accepted: str, expected: str) -> None:
            page = await client.get("/signin", headers={"accept-language": accepted})
            assert page.headers["content-language"] == expected

        await check("ru-RU,ru;q=0.9,en;q=0.8", "ru")
        await check("uz-Cyrl-UZ", "uz-Cyrl")
        await check("uz-Latn-UZ", "uz")
        await check("fr, kaa;q=0.5", "kaa")
        await check("fr", "uz")
        await check("", "uz")

    with_city(tmp_path, story)


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        await sign_in(client, accounts)
        asked = {"label": "gateway", "role": "operator", "tenant": "buxoro", "days": 30}
        made = await client.post("/api/keys", json=asked, headers=OURS)
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        key = made.json()
        assert (await accounts.identify(key["key"], NOW)).label == "gateway"
        scopes = [{"act": "write", "resource": "entities", "types": ["https://example.org/Air"]}]
        narrow = await client.post(
            "/api/keys", json={"label": "narrow", "scopes": scopes, "tenant": "buxoro"}, headers=OURS
        )
        assert (await accounts.identify(narrow.json()["key"], NOW)).scopes[0].tenant == "buxoro"
        listed = (await client.get("/api/keys", params={"tenant": "buxoro"})).json()["keys"]
        assert {one["label"]: one["role"] for one in listed} == {"gateway": "operator", "narrow": None}
        assert key["key"][-43:] not in str(listed)
        assert listed[0]["endsAt"].endswith("Z")
        assert (await client.delete(f"/api/keys/{key['id']}", headers=OURS)).status_code == 204
        assert refusal(await client.delete(f"/api/keys/{key['id']}", headers=OURS)) == "NotFound"
        acts = (await client.get("/api/acts", params={"tenant": "buxoro"})).json()["acts"]
        assert [act["act"] for act in acts] == ["key.made", "key.made", "key.revoked"]

    with_city(tmp_path, story)


def test_people_are_invited_by_links_and_dismissed(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        await sign_in(client, accounts)
        made = (await client.post("/api/links", json={"role": "operator", "label": "Vali"}, headers=OURS)).json()
        assert made["link"] == f"http://city.example/welcome?token={made['token']}"
        await accounts.use_link(made["token"], "", NOW)
        people = (await client.get("/api/people")).json()["people"]
        assert {one["label"]: one["role"] for one in people} == {"Nodira": "administrator", "Vali": "operator"}
        person = next(one["id"] for one in people if one["label"] == "Vali")
        back = {"role": "operator", "label": "Vali", "person": person}
        assert (await client.post("/api/links", json=back, headers=OURS)).status_code == 201
        assert (await client.delete(f"/api/people/{person}", headers=OURS)).status_code == 204

    with_city(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "Malformed"),
        (b"{", "Malformed"),
        (b"[]", "Invalid"),
        (b"{}", "Invalid"),
        (b'{"label":"a","role":"operator","scopes":[]}', "Invalid"),
        (b'{"label":"a","role":7}', "Invalid"),
        (b'{"label":7,"role":"operator"}', "Invalid"),
        (b'{"label":"a","role":"king"}', "Invalid"),
        (b'{"label":"a","role":"operator","days":"ten"}', "Invalid"),
        (b'{"label":"a","role":"operator","days":1e3}', "Invalid"),
        (b'{"label":"a","role":"operator","types":[]}', "Invalid"),
        (b'{"label":"a","role":"operator","colour":"red"}', "Invalid"),
        (b'{"label":"a","scopes":[]}', "Invalid"),
        (b'{"label":"a","scopes":["read"]}', "Invalid"),
        (b'{"label":"' + b"a" * 70_000 + b'"}', "TooLarge"),
    ],
)
def test_a_body_that_asks_for_nonsense_is_refused(tmp_path: Path, body: bytes, expected: str) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        _, key = await accounts.make_key("root", "administrator", "*", ["*"], 9, NOW, by=HOUSE)
        headers = {"x-api-key": key, "content-type": "application/json"}
        assert refusal(await client.post("/api/keys", content=body, headers=headers)) == expected
        plain = await client.post("/api/keys", content=body, headers=headers | {"content-type": "text/plain"})
        assert refusal(plain) == "WrongMediaType"

    with_city(tmp_path, story)


def test_whoever_may_not_is_told_so(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, accounts: Accounts) -> None:
        _, key = await accounts.make_key("Ali", "operator", "", ["*"], 9, NOW, by=HOUSE)
        asked = {"label": "a", "role": "operator"}
        for headers, expected in (({}, "Unauthenticated"), ({"x-api-key": key}, "Forbidden")):
            assert refusal(await client.get("/api/keys", headers=headers)) == expected
            assert refusal(await client.get("/api/people", headers=headers)) == expected
            assert refusal(await client.get("/api/acts", headers=headers)) == expected
            assert refusal(await client.post("/api/keys", json=asked, headers=headers)) == expected
            assert refusal(await client.post("/api/links", json=asked, headers=headers)) == expected
        for limit in ("0", "x", "1001", "²"):
            assert (
                refusal(await client.get("/api/acts", params={"limit": limit}, headers={"x-api-key": key})) == "Invalid"
            )

    with_city(tmp_path, story)


def test_a_form_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    async def story(client: httpx.AsyncClient, _accounts: Accounts) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"}
        for body in (b"credential=\xff", b"credential=%ff", b"&".join([b"a=1"] * 50)):
            assert refusal(await client.post("/signin", content=body, headers=form)) == "Malformed"
        assert refusal(await client.post("/signin", json={})) == "WrongMediaType"

    with_city(tmp_path, story)
