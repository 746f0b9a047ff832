"""Pages and addresses about accounts: the one-time link, signing in and out, keys, invitations, people, the record of
acts.

For: people in a browser (/welcome, /signin, /signout) and programs, among them `shahar key` and the operations centre
(/api/...).
Promises: opening a link does not use it (mail programs and chat previews open what they carry): only the button does. A
wrong key or an ended link brings the page again with a sentence, not an error document. Secrets go out in one answer,
never to be kept by a cache (`no-store`), and never in an address but the one-time link itself, whose page sends no
address to other sites.
Does not: decide (services/accounts asks access.may for every act with the tenant that it concerns), make problem
documents.

The outer layer has put `shahar.actor` (who asks) and `shahar.parts` (with `accounts` and `now()`) into the scope, and
has refused forged requests that are signed by a cookie (web/session). Access logs must leave out the query of /welcome:
`SECRET_QUERIES`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shahar.model.access import ANY, DEFAULT_TENANT, Act, Actor, scope_document, scope_from, types_from
from shahar.services.accounts import Accounts, Key, Person
from shahar.values.bounds import FORM_BYTES, KEY_DAYS, KEY_SCOPES
from shahar.values.errors import Invalid, Malformed, TooLarge, Unauthenticated, WrongMediaType
from shahar.values.instants import Instant, text
from shahar.web import session
from shahar.web.pages.words import LANGUAGES, language_of, words

if TYPE_CHECKING:
    from jinja2 import Environment

Endpoint = Callable[[Request], Awaitable[Response]]

SECRET_QUERIES: Final = ("/welcome",)
AFTER_SIGN_IN: Final = "/ops"
KEY_DAYS_DEFAULT: Final = 90
ACTS_PAGE: Final = 100
ACTS_PAGE_MAX: Final = 1_000

_ONCE: Final = {"cache-control": "no-store"}
_PAGE: Final = _ONCE | {
    # same-origin, not no-referrer: under the latter browsers send `Origin: null` with our own forms
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_TOKEN: Final = re.compile(r"sht_[0-9a-z-]+_[A-Za-z0-9_-]+")


@cache
def _pages() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # a start does not wait for the first page

    folder = FileSystemLoader(Path(__file__).parent / "pages")
    return Environment(loader=folder, autoescape=True, undefined=StrictUndefined)


# -- pages ------------------------------------------------------------------------------------------------------


async def show_welcome(request: Request) -> Response:
    """The page of a one-time link: whom it makes, and a field for the name."""
    token = request.query_params.get("token", "")
    try:
        link = await _accounts(request).look_at_link(token, _at(request))
    except Unauthenticated:
        return _page(request, "ended")
    return _page(request, "welcome", token=token, link=link)


async def welcome(request: Request) -> Response:
    """Use the link: the person is made or let in again, the browser gets its session."""
    session.demand_ours(request.scope, told=False)
    form = await _form(request)
    token, accounts, at = form.get("token", ""), _accounts(request), _at(request)
    try:
        link = await accounts.look_at_link(token, at)
    except Unauthenticated:
        return _go("/welcome")
    try:
        begun = await accounts.use_link(token, form.get("label", ""), at)
    except Unauthenticated:  # somebody else was faster
        return _go("/welcome")
    except Invalid as problem:
        if problem.field != "label":
            raise
        return _page(request, "welcome", token=token, link=link, notice="welcome.name.needed")
    return _signed_in(request, begun, AFTER_SIGN_IN)


async def show_signin(request: Request) -> Response:
    """The page to sign in, or to see who is signed in and sign out."""
    notice = "signin.wrong" if "wrong" in request.query_params else None
    return _page(request, "signin", notice=notice, next=_local_address(request.query_params.get("next", "")))


async def signin(request: Request) -> Response:
    """Sign in with a key; a one-time link (or its token) goes on to its own page."""
    session.demand_ours(request.scope, told=False)
    form = await _form(request)
    given, then = form.get("credential", "").strip(), _local_address(form.get("next", ""))
    if link := _TOKEN.search(given):
        return _go("/welcome?" + urlencode({"token": link[0]}))
    try:
        begun = await _accounts(request).sign_in_with_key(given, _at(request))
    except Unauthenticated:
        return _go("/signin?" + urlencode({"wrong": "", "next": then}))
    return _signed_in(request, begun, then)


async def signout(request: Request) -> Response:
    """End the browser's session."""
    credential = session.credential_of(request.scope)
    if credential is not None and credential.kind == "cookie":
        await _accounts(request).sign_out(credential.text, _at(request))
    answer = _go("/")
    answer.headers["set-cookie"] = session.ended_cookie(https=session.is_https(request.scope))
    return answer


# -- for programs -----------------------------------------------------------------------------------------------


async def list_keys(request: Request) -> Response:
    """{"keys": [...]} of `?tenant=`; no secrets, they are not kept."""
    keys = await _accounts(request).keys(_tenant(request), by=_actor(request))
    return _json({"keys": [_key_document(key) for key in keys]})


async def make_key(request: Request) -> Response:
    """A new key from {label, role | scopes, tenant, types, days}; its text is in this answer and nowhere else."""
    asked = await asked_json(request, {"label", "role", "scopes", "tenant", "types", "days"})
    tenant = _text(asked, "tenant", DEFAULT_TENANT)
    days = asked.get("days", KEY_DAYS_DEFAULT)
    if not isinstance(days, int):
        raise Invalid("days are a whole number", field="days", rule=f"1 to {KEY_DAYS} days")
    types = types_from(asked.get("types", list(ANY)))
    if ("role" in asked) == ("scopes" in asked):
        raise Invalid("a key has a role or scopes", field="role", rule="one of the two")
    rights = _text(asked, "role") if "role" in asked else _scopes(asked["scopes"], tenant)
    made = await _accounts(request).make_key(
        _text(asked, "label"), rights, tenant, types, days, _at(request), by=_actor(request)
    )
    return _json({"id": made[0], "key": made[1]}, 201)


async def revoke_key(request: Request) -> Response:
    """End a key."""
    await _accounts(request).revoke(request.path_params["id"], _at(request), by=_actor(request))
    return Response(status_code=204)


async def make_link(request: Request) -> Response:
    """A one-time link from {role, tenant, label, person}; `person`: the id of somebody who shall come in again."""
    asked = await asked_json(request, {"role", "tenant", "label", "person"})
    person = _text(asked, "person") if "person" in asked else None
    role, tenant, label = _text(asked, "role"), _text(asked, "tenant", DEFAULT_TENANT), _text(asked, "label")
    token = await _accounts(request).make_link(role, tenant, label, _at(request), by=_actor(request), person=person)
    address = request.url.replace(path="/welcome", query=urlencode({"token": token}))
    return _json({"link": str(address), "token": token}, 201)


async def list_people(request: Request) -> Response:
    """{"people": [...]} of `?tenant=`."""
    people = await _accounts(request).people(_tenant(request), by=_actor(request))
    return _json({"people": [_person_document(person) for person in people]})


async def dismiss(request: Request) -> Response:
    """End a person's account and their sessions."""
    await _accounts(request).dismiss(request.path_params["id"], _at(request), by=_actor(request))
    return Response(status_code=204)


async def list_acts(request: Request) -> Response:
    """{"acts": [...]} of `?tenant=`, oldest first, behind `?after=` (an id), up to `?limit=`."""
    asked = request.query_params.get("limit", str(ACTS_PAGE))
    if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:9]) <= ACTS_PAGE_MAX:
        raise Invalid("limit is a whole number", field="limit", rule=f"1 to {ACTS_PAGE_MAX}")
    after = request.query_params.get("after", "")
    acts = await _accounts(request).acts(_tenant(request), by=_actor(request), after=after, limit=int(asked))
    return _json({"acts": [act | {"at": text(act["at"])} for act in acts]})


ROUTES: Final[tuple[tuple[tuple[str, ...], str, Endpoint, tuple[Act, str] | None], ...]] = (
    (("GET",), "/welcome", show_welcome, None),
    (("POST",), "/welcome", welcome, None),
    (("GET",), "/signin", show_signin, None),
    (("POST",), "/signin", signin, None),
    (("POST",), "/signout", signout, None),
    (("GET",), "/api/keys", list_keys, ("read", "accounts")),
    (("POST",), "/api/keys", make_key, ("admin", "accounts")),
    (("DELETE",), "/api/keys/{id}", revoke_key, ("admin", "accounts")),
    (("POST",), "/api/links", make_link, ("admin", "accounts")),
    (("GET",), "/api/people", list_people, ("read", "accounts")),
    (("DELETE",), "/api/people/{id}", dismiss, ("admin", "accounts")),
    (("GET",), "/api/acts", list_acts, ("read", "audit")),
)
"""Methods, path, endpoint, and the act and resource of the decision, or None for everybody. The tenant is known to the
endpoint alone (`?tenant=`, a member of the body, the key's own), and the service demands the right there."""

# -- what is asked ----------------------------------------------------------------------------------------------


def _accounts(request: Request) -> Accounts:
    accounts: Accounts = request.scope["shahar.parts"].accounts
    return accounts


def _at(request: Request) -> Instant:
    at: Instant = request.scope["shahar.parts"].wall()
    return at


def _actor(request: Request) -> Actor:
    actor: Actor = request.scope["shahar.actor"]
    return actor


def _tenant(request: Request) -> str:
    return request.query_params.get("tenant", DEFAULT_TENANT)


async def _body(request: Request, media_type: str) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise WrongMediaType(f"the body is {media_type} here", field="Content-Type", rule=media_type)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise TooLarge("the body is too large", field="body", rule=f"at most {FORM_BYTES} bytes")
    return bytes(body)


async def _form(request: Request) -> dict[str, str]:
    body = await _body(request, "application/x-www-form-urlencoded")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError:
        raise Malformed("the form cannot be read", field="body") from None


async def asked_json(request: Request, members: AbstractSet[str]) -> dict[str, Any]:
    """The JSON object of a request, of these members alone; Malformed, Invalid, TooLarge, WrongMediaType."""
    try:
        document = orjson.loads(await _body(request, "application/json"))
    except orjson.JSONDecodeError as problem:
        raise Malformed(f"the body is not JSON: {problem}", field="body") from None
    if not isinstance(document, dict):
        raise Invalid("the body is a JSON object", field="body")
    for member in document.keys() - members:
        raise Invalid(
            f"{member!r:.60} is not known here", field=member[:60], rule=f"one of {', '.join(sorted(members))}"
        )
    return document


def _text(document: dict[str, Any], member: str, default: str | None = None) -> str:
    value = document.get(member, default)
    if not isinstance(value, str):
        raise Invalid(f"{member} is a text", field=member)
    return value


def _scopes(document: Any, tenant: str) -> list[Any]:
    if not isinstance(document, list) or not 1 <= len(document) <= KEY_SCOPES:
        raise Invalid("scopes are a list", field="scopes", rule=f"1 to {KEY_SCOPES} scopes")
    told = ({"tenant": tenant} | one if isinstance(one, dict) else one for one in document)
    return [scope_from(one, f"scopes[{place}]") for place, one in enumerate(told)]


def _local_address(given: str) -> str:
    """An address of ours to go to after signing in; anything that a browser could take for another site's is
    refused."""
    return (
        given if re.fullmatch(r"/([A-Za-z0-9_.~?&=%+-][A-Za-z0-9_.~/?&=%+:,-]*)?", given, re.ASCII) else AFTER_SIGN_IN
    )


# -- what is answered -------------------------------------------------------------------------------------------


def _page(request: Request, part: str, **told: Any) -> HTMLResponse:
    """`part`: welcome, ended or signin. The page speaks the language of ?lang=, else of the cookie, else the
    browser's."""
    language = language_of(request)
    actor = request.scope.get("shahar.actor")
    page = (
        _pages()
        .get_template("signin.html")
        .render(
            {"notice": None, "token": "", "link": None, "next": AFTER_SIGN_IN}
            | told
            | {
                "part": part,
                "t": words(language),
                "language": language,
                "languages": LANGUAGES,
                "here": {tongue: _here(request, tongue) for tongue in LANGUAGES},
                "signed_in_as": actor.label if actor is not None and actor.kind in ("person", "key") else None,
            }
        )
    )
    return HTMLResponse(page, headers=_PAGE | {"content-language": language, "vary": "accept-language, cookie"})


def _here(request: Request, language: str) -> str:
    return "?" + urlencode({**request.query_params, "lang": language})


def _go(address: str) -> RedirectResponse:
    return RedirectResponse(address, 303, headers=_PAGE)


def _signed_in(request: Request, begun: str, then: str) -> Response:
    answer = _go(then)
    answer.headers["set-cookie"] = session.cookie(begun, https=session.is_https(request.scope))
    return answer


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, _ONCE, "application/json")


def _key_document(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "label": key.label,
        "role": key.role,
        "scopes": [scope_document(scope) for scope in key.scopes],
        "tenant": key.tenant,
        "types": list(key.types),
        "madeAt": text(key.made_at),
        "madeBy": key.made_by,
        "endsAt": text(key.ends_at),
        "usedAt": None if key.used_at is None else text(key.used_at),
    }


def _person_document(person: Person) -> dict[str, Any]:
    told = {"id": person.id, "label": person.label, "role": person.role, "tenant": person.tenant}
    return told | {"madeAt": text(person.made_at)}
