"""What every list of the standard shares: the page that is asked for, links to the pages beside it, one member by id.

Promises: the links keep the parameters of the request, so that whoever follows them asks the same question.
Source: ETSI GS CIM 009 clauses 6.3.10, 6.3.13, 6.3.11 (sysAttrs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shahar.values.bounds import PAGE_LIMIT, PAGE_OFFSET
from shahar.values.errors import Invalid, WrongMethod
from shahar.web.exchange import JSON, Params, Request
from shahar.web.ngsild.negotiate import check_id

PAGE: Final = 20


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is asked for; `count`: and how many there are."""

    limit: int
    offset: int
    count: bool

    def check(self) -> None:
        """Refuse to answer nothing at all."""
        if self.limit == 0 and not self.count:
            raise Invalid("a limit of 0 needs count=true", field="limit", rule="ETSI GS CIM 009 clause 6.3.10")

    def headers(self, request: Request, total: int, media: str) -> list[tuple[bytes, bytes]]:
        """The number of members, when it was asked for, and the addresses of the pages before and behind."""
        given = [(b"ngsild-results-count", str(total).encode())] if self.count else []
        return given + links(request, self.limit, self.offset, more=self.offset + self.limit < total, media=media)


def window_of(params: Params) -> Window:
    """The page that the parameters ask for; Invalid."""
    return Window(
        params.number("limit", PAGE, 0, PAGE_LIMIT), params.number("offset", 0, 0, PAGE_OFFSET), params.flag("count")
    )


def links(request: Request, limit: int, offset: int, *, more: bool, media: str = JSON) -> list[tuple[bytes, bytes]]:
    """Link headers to the pages before and behind; `more`: there is one behind."""
    found: list[tuple[bytes, bytes]] = []
    if limit and offset:
        found.append((b"link", _link(request, limit, max(0, offset - limit), "prev", media)))
    if limit and more:
        found.append((b"link", _link(request, limit, offset + limit, "next", media)))
    return found


def _link(request: Request, limit: int, offset: int, rel: str, media: str) -> bytes:
    given = request.headers.get(":query", "").split("&")
    kept = [part for part in given if part and part.partition("=")[0] not in {"limit", "offset"}]
    address = "&".join([*kept, f"limit={limit}", f"offset={offset}"])
    return f'<{request.path.rstrip("/")}?{address}>;rel="{rel}";type="{media}"'.encode()


def id_of(request: Request, what: str) -> str:
    """The id in the address; an address without one is that of the whole list, whose members are not changed at
    once.
    """
    if not request.args[0]:
        raise WrongMethod(f"{request.method} is for one {what}; none is named", field="id", rule="GET, POST")
    return check_id(request.args[0])


def sys_of(request: Request, what: str) -> bool:
    """Whether createdAt and modifiedAt are asked for (options=sysAttrs)."""
    options = request.params.names("options")
    if set(options) - {"sysAttrs"}:
        raise Invalid(f"{what}s have the option sysAttrs alone", field="options", rule="sysAttrs")
    return bool(options)
