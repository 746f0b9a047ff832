"""Who asks: credentials in headers, cookies, forged requests; with real accounts in a store of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shahar.model.access import ANONYMOUS, HOUSE, LOCAL, OPEN, PUBLIC
from shahar.services.accounts import Access, Accounts
from shahar.services.credentials import new_local_secret
from shahar.values.errors import Forbidden, Malformed, Unauthenticated
from shahar.values.instants import DAY, SECOND
from shahar.web import session
from shahar.web.session import Scope, credential_of, identify
from tests.engines import store_at

NOW = 1_800_000_000 * SECOND
OURS = {"host": "city.example", "origin": "http://city.example"}


def scope(
    *headers: tuple[str, str], method: str = "GET", scheme: str = "http", client: str | None = "127.0.0.1"
) -> Scope:
    return {
        "type": "http",
        "method": method,
        "scheme": scheme,
        "client": (client, 4000) if client else None,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


def with_accounts(
    folder: Path,
    story: Callable[[Accounts], Awaitable[None]],
    access: Access = "closed",
    local_secret: str | None = None,
) -> None:
    async def run() -> None:
        db = store_at(folder / "city.db")
        await db.open()
        try:
            accounts = Accounts(db, access=access, local_secret=local_secret)
            await story(accounts)
            await accounts.settle()
        finally:
            await db.close()

    asyncio.run(run())


async def begin(accounts: Accounts) -> tuple[str, str]:
    """A key and a session begun with it."""
    _, key = await accounts.make_key("Ali", "operator", "", ["*"], 30, NOW, by=HOUSE)
    return key, await accounts.sign_in_with_key(key, NOW)


@pytest.mark.parametrize(
    ("headers", "scheme", "expected"),
    [
        ([], "http", None),
        ([("authorization", "Bearer abc")], "http", ("abc", "bearer")),
        ([("authorization", "bearer  abc ")], "http", ("abc", "bearer")),
        ([("authorization", "Basic abc")], "http", None),
        ([("authorization", "Bearer")], "http", None),
        ([("x-api-key", "abc")], "http", ("abc", "key")),
        ([("authorization", "Basic abc"), ("x-api-key", "def")], "http", ("def", "key")),
        ([("x-api-key", "def"), ("authorization", "Bearer abc")], "http", ("abc", "bearer")),
        ([("cookie", "a=1; shahar_session=abc; b=2")], "http", ("abc", "cookie")),
        ([("cookie", "a=1"), ("cookie", "shahar_session=abc")], "http", ("abc", "cookie")),
        ([("cookie", "shahar_session=")], "http", None),
        ([("cookie", "xshahar_session=abc")], "http", None),
        ([("cookie", "shahar_session=abc"), ("x-api-key", "def")], "http", ("def", "key")),
        ([("cookie", "shahar_session=abc")], "https", None),
        ([("cookie", "__Host-shahar_session=abc")], "https", ("abc", "cookie")),
        ([("cookie", "__Host-shahar_session=abc")], "http", None),
    ],
)
def test_a_credential_is_read_from_its_headers(
    headers: list[tuple[str, str]], scheme: str, expected: tuple[str, str] | None
) -> None:
    found = credential_of(scope(*headers, scheme=scheme))
    assert (found and (found.text, found.kind)) == expected


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_a_header_sent_twice_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="twice"):
        credential_of(scope((name, "Bearer a"), (name, "Bearer b")))


def test_a_credential_does_not_print_itself() -> None:
    assert "abc" not in repr(credential_of(scope(("x-api-key", "abc"))))


def test_a_cookie_is_out_of_reach_of_scripts_and_of_other_sites() -> None:
    def check(value: str, expected: str) -> None:
        assert value == expected

    check(
        session.cookie("shs_x", https=False),
        "shahar_session=shs_x; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax",
    )
    check(
        session.cookie("shs_x", https=True),
        "__Host-shahar_session=shs_x; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure",
    )
    check(session.ended_cookie(https=False), "shahar_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")


def test_a_key_is_known_in_either_header_and_a_session_by_its_cookie(tmp_path: Path) -> None:
    async def story(accounts: Accounts) -> None:
        key, token = await begin(accounts)
        for header in (("authorization", f"Bearer {key}"), ("x-api-key", key), ("cookie", f"shahar_session={token}")):
            assert (await identify(scope(header), accounts, NOW)).label == "Ali"

    with_accounts(tmp_path, story)


def test_a_wrong_key_is_an_error_and_an_ended_cookie_is_nobody(tmp_path: Path) -> None:
    async def story(accounts: Accounts) -> None:
        key, token = await begin(accounts)
        with pytest.raises(Unauthenticated):
            await identify(scope(("x-api-key", key[:-1] + "A" if key[-1] != "A" else "B")), accounts, NOW)
        ended = scope(("cookie", f"shahar_session={token}"), method="POST")
        assert await identify(ended, accounts, NOW + 8 * DAY) == PUBLIC
        assert await identify(scope(), accounts, NOW) == PUBLIC

    with_accounts(tmp_path, story, "public-read")


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", **OURS}, False),
        (OURS, True),
        ({"host": "city.example:8080", "origin": "http://city.example:8080"}, True),
        ({"host": "city.example", "origin": "http://city.example:8080"}, False),
        ({"host": "city.example", "origin": "http://evil.example"}, False),
        ({"host": "city.example", "origin": "null"}, False),
        ({"host": "city.example", "origin": "http://["}, False),
        ({"origin": "http://"}, False),
        ({}, False),
    ],
)
def test_a_change_signed_by_a_cookie_must_come_from_our_own_page(
    tmp_path: Path, headers: dict[str, str], ours: bool
) -> None:
    async def story(accounts: Accounts) -> None:
        key, token = await begin(accounts)
        cookie = ("cookie", f"shahar_session={token}")
        for method in ("POST", "PATCH", "PUT", "DELETE", "PURGE"):
            if ours:
                await identify(scope(cookie, *headers.items(), method=method), accounts, NOW)
            else:
                with pytest.raises(Forbidden, match="does not come from a page"):
                    await identify(scope(cookie, *headers.items(), method=method), accounts, NOW)
            await identify(scope(("x-api-key", key), *headers.items(), method=method), accounts, NOW)
        await identify(scope(cookie, *headers.items(), method="GET"), accounts, NOW)

    with_accounts(tmp_path, story)


def test_under_open_access_programs_pass_and_foreign_pages_do_not(tmp_path: Path) -> None:
    async def story(accounts: Accounts) -> None:
        assert await identify(scope(method="POST"), accounts, NOW) == OPEN
        assert await identify(scope(("x-api-key", "any"), method="POST"), accounts, NOW) == OPEN
        foreign = (("host", "127.0.0.1:8080"), ("origin", "https://evil.example"))
        assert await identify(scope(*foreign), accounts, NOW) == OPEN
        for extra in ((), (("cookie", "shahar_session=x"),)):
            with pytest.raises(Forbidden):
                await identify(scope(*foreign, *extra, method="POST"), accounts, NOW)

    with_accounts(tmp_path, story, "open")


def test_the_local_secret_is_good_on_this_machine_alone(tmp_path: Path) -> None:
    secret = new_local_secret()

    async def story(accounts: Accounts) -> None:
        bearer = ("authorization", f"Bearer {secret}")
        for own in ("127.0.0.1", "::1"):
            assert await identify(scope(bearer, client=own), accounts, NOW) == LOCAL
        for peer in ("10.0.0.5", "127.0.0.2", None):
            with pytest.raises(Unauthenticated):
                await identify(scope(bearer, client=peer), accounts, NOW)
        with pytest.raises(Unauthenticated):
            await identify(scope(bearer, ("x-forwarded-for", "10.0.0.5")), accounts, NOW)
        with pytest.raises(Unauthenticated):
            await identify(scope(("authorization", f"Bearer {new_local_secret()}")), accounts, NOW)
        assert await identify(scope(("cookie", f"shahar_session={secret}")), accounts, NOW) == ANONYMOUS

    with_accounts(tmp_path, story, local_secret=secret)


def test_without_a_local_secret_none_is_good(tmp_path: Path) -> None:
    async def story(accounts: Accounts) -> None:
        with pytest.raises(Unauthenticated):
            await identify(scope(("x-api-key", new_local_secret())), accounts, NOW)

    with_accounts(tmp_path, story)
