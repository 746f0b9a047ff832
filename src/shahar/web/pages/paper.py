"""What all public pages share: the templates, the style sheets, and how a page is answered.

Promises: a page works without script and may run none (its Content-Security-Policy allows no script at all); a style
sheet is named with the digest of its contents and may be kept for ever under that name; a page is asked for again each
time and told in one language, which it names. The chosen language is remembered in a cookie that says nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shahar.model.city import City
from shahar.values.errors import NotFound
from shahar.web.pages import words

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
STATIC_AT: Final = "/static/pages"
YEAR_S: Final = 31_536_000

_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_HEADERS: Final = {
    "cache-control": "no-cache",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One static file: its bytes, media type and digest."""

    body: bytes
    media_type: str
    digest: str


@cache
def _sheets() -> dict[str, Sheet]:
    return {path.name: _sheet(path) for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES}


def _sheet(path: Path) -> Sheet:
    body = path.read_bytes()
    return Sheet(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:16])


def address_of(name: str) -> str:
    """The address of a static file, with the digest of its contents."""
    return f"{STATIC_AT}/{name}?v={_sheets()[name].digest}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # a start does not wait for the first page

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["address_of"] = address_of
    made.globals["band"] = (FOLDER / "band.svg").read_text("utf-8")
    return made


def render(template: str, city: City, language: str, path: str, **told: Any) -> str:
    """A page of a city in a language; `path` is its own address, for the links to its other languages."""
    shared = {
        "t": words.words(language),
        "language": language,
        "languages": words.LANGUAGES,
        "short": words.SHORT,
        "unread": words.unread_share(language),
        "path": path,
        "city": city,
        "city_name": words.name_in(city.name, language),
        "name": lambda names: words.name_in(names, language),
        "number": lambda value, decimals=None: words.number(value, language, decimals),
    }
    return _environment().get_template(template).render(shared | told)


def answer(request: Request, page: str, language: str) -> Response:
    """The page as an answer; a language that was asked for is remembered."""
    headers = _HEADERS | {"content-language": language, "vary": "accept-language, cookie"}
    response = HTMLResponse(page, headers=headers)
    if request.query_params.get("lang") == language:
        response.set_cookie(words.COOKIE, language, max_age=YEAR_S, path="/", samesite="lax")
    return response


async def static(request: Request) -> Response:
    """GET /static/pages/{name}: a style sheet or mark; kept for a year under its digest, else asked for again."""
    sheet = _sheets().get(request.path_params["name"])
    if sheet is None:
        raise NotFound("there is no such file", field="path")
    kept = request.query_params.get("v") == sheet.digest
    headers = {
        "cache-control": f"public, max-age={YEAR_S}, immutable" if kept else "no-cache",
        "etag": f'"{sheet.digest}"',
        "x-content-type-options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(sheet.body, headers=headers, media_type=sheet.media_type)
