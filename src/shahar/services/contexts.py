"""@contexts: fetched once, kept, compiled, handed out as tables; hosted for those who ask; managed by 5.13.

Promises: a request that names a known context waits for nobody; one address is fetched once at a time however many
ask; what was fetched or hosted outlives a restart; a copy that has become old is fetched again beside the requests, and
stays in use while its source is silent; the core contexts are built in and never fetched. A table of local files
(`--contexts`) stands in for the network below the cache, so that a context that was forgotten is read again.
Each tenant has contexts of its own (services/shelf). An address of ours is answered from there and never fetched.
Does not: open sockets (`fetch` is given to it); compile (model/context).
Source: ETSI GS CIM 009 clauses 5.13, 6.3.5.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin
from uuid import uuid4

import orjson
import structlog

from shahar.model.context import CORE, Context, Source, addresses, compile_context, is_core
from shahar.model.terms import CORE_URL
from shahar.services import shelf
from shahar.services.shelf import PLACE, ContextKind, Entry, Shelf
from shahar.store import tenants
from shahar.store.db import Database
from shahar.values.bounds import (
    CONTEXT_BYTES,
    CONTEXT_S,
    CONTEXTS_HOSTED,
    CONTEXTS_KEPT,
    CONTEXTS_PER_REQUEST,
    JSON_DEPTH,
)
from shahar.values.errors import ContextUnavailable, Invalid, NotFound, ShaharError, TooMany
from shahar.values.instants import SECOND, Instant

__all__ = ["PLACE", "ContextKind", "Contexts", "Entry"]

log = structlog.get_logger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
FAILING: Final = 100
"""How many addresses that cannot be read are remembered, the newest."""
AGAIN_S: Final = 3_600
"""How long after a failure an old copy is asked for again."""
USES: Final = "uses"
"""What other processes are asked of a context."""
RELOAD: Final = "ETSI GS CIM 009 clause 5.13.5: only what was fetched can be fetched again"


@dataclass(frozen=True, slots=True)
class _Compiled:
    context: Context
    entries: tuple[Entry, ...]


@dataclass(slots=True)
class Contexts:
    """The cache of contexts. `fetch(address)` brings a document's bytes or raises; `table` maps addresses to local
    files; `base` is the address under which we are reached.
    """

    db: Database
    fetch: Fetch
    table: Mapping[str, Path] = field(default_factory=dict)
    base: str = ""
    _since: Instant = 0
    _shelf: Shelf = field(default_factory=Shelf)
    _compiled: OrderedDict[tuple[str, bytes], _Compiled] = field(default_factory=OrderedDict)
    _underway: dict[tuple[str, str], asyncio.Future[Entry]] = field(default_factory=dict)
    failing: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Addresses that could not be read when they were last asked; bounded."""

    async def load(self, at: Instant = 0) -> None:
        """Take up what was kept in earlier runs."""
        self._since = at
        for entry in await self.db.read(shelf.every):
            self._shelf.put(entry)

    @property
    def follows(self) -> Sequence[str]:
        """The records that it holds in memory (services/fellows)."""
        return (shelf.RECORDS,)

    async def follow(self, changed: Sequence[tuple[str, str]]) -> None:
        """Take in what these contexts are now."""
        held = await self.db.read(lambda tx: shelf.some(tx, changed))
        for tenant, key in changed:
            old, new = self._shelf.find(tenant, key), held.get((tenant, key))
            if old is not None and new is not None and (old.document, old.created) == (new.document, new.created):
                continue
            if old is not None:
                self._forget(old)
            if new is not None:
                self._shelf.put(new)

    async def get(self, source: Source, at: Instant, tenant: str = "") -> Context:
        """The compiled context of what a request says under @context or Link. Raises Invalid, ContextUnavailable."""
        if not source:
            return CORE
        key = (tenant, _bytes_of(source))
        found = self._compiled.get(key)
        if found is None:
            found = await self._compile(key, source, at)
        else:
            self._compiled.move_to_end(key)
        for entry in found.entries:
            entry.use(at)
            if entry.expires is not None and entry.expires <= at:
                self._renew(entry, at)
        return found.context

    async def _compile(self, key: tuple[str, bytes], source: Source, at: Instant) -> _Compiled:
        if len(key[1]) > CONTEXT_BYTES:
            raise Invalid("the @context is too large", field="@context", rule=f"at most {CONTEXT_BYTES} bytes")
        entries = await self._gather(key[0], source, at)
        documents = {address: entry.document for address, entry in entries.items()}
        compiled = _Compiled(compile_context(source, documents), tuple(entries.values()))
        if all(self._shelf.find(entry.tenant, entry.key) is entry for entry in compiled.entries):
            self._compiled[key] = compiled  # unless one was dropped meanwhile
        while len(self._compiled) > CONTEXTS_KEPT:
            self._compiled.popitem(last=False)
        return compiled

    async def _gather(self, tenant: str, source: Source, at: Instant) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        waiting = list(addresses(source))
        while waiting:
            address = waiting.pop()
            if address in entries:
                continue
            if len(entries) >= CONTEXTS_PER_REQUEST:
                raise Invalid(
                    "too many @contexts", field="@context", rule=f"at most {CONTEXTS_PER_REQUEST} in one request"
                )
            entries[address] = await self._entry(tenant, address, at)
            waiting.extend(addresses(entries[address].document))
        return entries

    async def _entry(self, tenant: str, address: str, at: Instant) -> Entry:
        if not address.startswith(("http://", "https://")) and address not in self.table:
            rule = "an http or https address"
            raise Invalid(f"{address!r:.200} is not the address of an @context", field="@context", rule=rule)
        return self._shelf.find(tenant, address) or await self._once(tenant, address, at)

    async def _once(self, tenant: str, address: str, at: Instant) -> Entry:
        """Fetch a copy, together with whoever fetches it already."""
        key = (tenant, address)
        return await asyncio.shield(self._underway.get(key) or self._begin(key, at))

    def _begin(self, key: tuple[str, str], at: Instant) -> asyncio.Future[Entry]:
        begun = self._underway[key] = asyncio.ensure_future(self._bring(*key, at))
        begun.add_done_callback(lambda _: self._underway.pop(key, None))
        return begun

    async def _bring(self, tenant: str, address: str, at: Instant) -> Entry:
        """Fetch a copy and keep it in place of an older one, for a tenant that there is. ContextUnavailable."""
        entry = shelf.cached(tenant, address, await self._document(address), at)
        if not await self.db.write(lambda tx: shelf.keep(tx, entry, at)):
            return entry
        old = self._shelf.find(tenant, address)
        if old is not None:
            entry.hits, entry.used = old.hits, old.used
            self._forget(old)
        self._shelf.put(entry)
        for stale in self._shelf.stalest(tenant, CONTEXTS_KEPT):
            await self._drop(stale, at)
        return entry

    async def _document(self, address: str) -> Source:
        """What stands under @context at an address. ContextUnavailable when it is not had, Invalid when it is none
        (5.5.6).
        """
        try:
            local = self.table.get(address)
            raw = (
                await asyncio.to_thread(local.read_bytes)
                if local
                else await asyncio.wait_for(self.fetch(address), CONTEXT_S)
            )
        except (ShaharError, OSError, TimeoutError) as problem:
            self._fell(address, problem)
            raise ContextUnavailable(
                f"@context {address:.200} could not be read: {problem}", field="@context"
            ) from problem
        if address in self.failing:
            del self.failing[address]
            log.info("context can be fetched again", address=address)
        document = _anchored(_context_in(raw, address), address)
        _check(document)
        return document

    def _fell(self, address: str, problem: Exception) -> None:
        """Remember, and say once, that an address cannot be read."""
        if address not in self.failing:
            log.warning("context cannot be fetched", address=address[:200], problem=str(problem))
            self.failing[address] = None
            if len(self.failing) > FAILING:
                self.failing.popitem(last=False)

    def _renew(self, entry: Entry, at: Instant) -> None:
        """Fetch an old copy again, beside the request that met it."""
        entry.expires = at + AGAIN_S * SECOND
        key = (entry.tenant, entry.key)
        if key not in self._underway:
            self._begin(key, at).add_done_callback(_say)

    def _forget(self, entry: Entry) -> None:
        """Let go of an entry in memory, and of all that was compiled from it."""
        self._shelf.drop(entry)
        for key in [key for key, compiled in self._compiled.items() if entry in compiled.entries]:
            del self._compiled[key]

    async def _drop(self, entry: Entry, at: Instant) -> None:
        await self.db.write(lambda tx: shelf.forget(tx, entry, at))
        self._forget(entry)

    # -- management (5.13) --------------------------------------------------------------------------------------------

    async def add(self, tenant: str, document: Source, at: Instant) -> Entry:
        """Host an @context. Raises Invalid, TooMany, NoTenant."""
        await self._known(tenant)
        _check(document)
        return await self._host(Entry(tenant, str(uuid4()), "Hosted", document, at), at)

    async def imply(self, tenant: str, source: Source, at: Instant) -> str:
        """One address for an @context: its own when it has one besides the core, else one of ours, which is the same
        for the same content. TooMany.
        """
        parts = source if isinstance(source, list) else [source]
        own = [one for one in parts if one is not None and not (isinstance(one, str) and is_core(one))]
        if len(own) < 2 and all(isinstance(one, str) for one in own):
            return own[0] if own else CORE_URL
        key = shelf.implied_id(source)
        entry = self._shelf.find(tenant, key)
        if entry is None:
            entry = await self._host(Entry(tenant, key, "ImplicitlyCreated", source, at), at)
        return self.address(entry)

    async def _host(self, entry: Entry, at: Instant) -> Entry:
        if sum(one.kind != "Cached" for one in self._shelf.of(entry.tenant)) >= CONTEXTS_HOSTED:
            raise TooMany("too many @contexts are hosted", field="@context", rule=f"at most {CONTEXTS_HOSTED} a tenant")
        self._shelf.put(entry)
        try:
            await self.db.write(lambda tx: shelf.keep(tx, entry, at))
        except BaseException:
            self._forget(entry)
            raise
        return entry

    async def listed(self, tenant: str, kind: str | None = None) -> list[Entry]:
        """A tenant's contexts, of one kind or of all; the core is among the copies. NoTenant."""
        await self._known(tenant)
        found = [self._core(tenant, CORE_URL), *self._shelf.of(tenant)]
        return [entry for entry in found if kind in (None, entry.kind)]

    async def find(self, tenant: str, name: str) -> Entry:
        """A context by its local id, its address, or an address of ours. Raises NotFound, NoTenant."""
        await self._known(tenant)
        if is_core(name) or name == shelf.local_id(CORE_URL):
            return self._core(tenant, name if is_core(name) else CORE_URL)
        found = self._shelf.find(tenant, name)
        if found is None:
            raise NotFound(f"there is no @context {name:.200} here", field="contextId")
        return found

    async def delete(self, tenant: str, name: str, at: Instant) -> None:
        """Forget a context; what it names stays. Raises NotFound, Invalid for the core."""
        entry = await self.find(tenant, name)
        if is_core(entry.key):
            rule = "the core @context is a part of the broker"
            raise Invalid("the core @context cannot be deleted", field="contextId", rule=rule)
        await self._drop(entry, at)

    async def reload(self, tenant: str, name: str, at: Instant) -> None:
        """Fetch a copy again and put it in place of the old one, which stays when that fails.

        Raises ContextUnavailable, NoTenant; Invalid for one that is not there (official case 051_04_01) or no copy.
        """
        try:
            entry = await self.find(tenant, name)
        except NotFound as problem:
            raise Invalid(problem.detail, field="contextId", rule=RELOAD) from None
        if entry.kind != "Cached":
            raise Invalid(f"the @context is {entry.kind}", field="reload", rule=RELOAD)
        if is_core(entry.key):
            return
        try:
            await self._once(tenant, entry.key, at)
        except Invalid as problem:
            raise ContextUnavailable(problem.detail, field="@context") from problem

    async def uses(self, entry: Entry) -> tuple[int, Instant | None]:
        """How often a context was found since the start, and when last, by whichever process."""
        hits, used = entry.hits, entry.used
        if self.db.ask_others is not None:
            for told in await self.db.ask_others(USES, orjson.dumps([entry.tenant, entry.key]).decode()):
                more, at = orjson.loads(told)
                hits, used = hits + more, max((one for one in (used, at) if one is not None), default=None)
        return hits, used

    async def told_uses(self, asked: str) -> str:
        """What of that is ours, for another process that asks."""
        tenant, key = orjson.loads(asked)
        entry = self._shelf.find(tenant, key)
        return orjson.dumps([entry.hits, entry.used] if entry else [0, None]).decode()

    def address(self, entry: Entry) -> str:
        """The address that a context is had from: its source's, or ours."""
        return entry.key if entry.kind == "Cached" else f"{self.base}{PLACE}{entry.key}"

    def _core(self, tenant: str, address: str) -> Entry:
        """The core @context as an entry; it is built in, whatever its version."""
        return Entry(tenant, address, "Cached", None, self._since)

    async def _known(self, tenant: str) -> None:
        if tenant:
            await self.db.read(lambda tx: tenants.number(tx, tenant))


def _context_in(raw: bytes, address: str) -> Source:
    """What stands under @context in a document."""
    try:
        document: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Invalid(f"@context {address:.200} is not JSON", field="@context") from None
    if not isinstance(document, dict) or "@context" not in document:
        raise Invalid(f"the document at {address:.200} has no @context", field="@context")
    return document["@context"]


def _bytes_of(source: Source) -> bytes:
    """What tells one @context from another. Invalid when it cannot be written."""
    try:
        return source.encode() if isinstance(source, str) else orjson.dumps(source)
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        rule = "JSON of Unicode, not nested without end"
        raise Invalid("the @context cannot be read", field="@context", rule=rule) from None


def _anchored(source: Source, base: str, left: int = JSON_DEPTH) -> Source:
    """A context with the relative addresses in it, and in its scoped contexts, resolved against the document's own
    (JSON-LD 1.1 section 9.4)."""
    if isinstance(source, str):
        return urljoin(base, source)
    if left <= 0:
        raise Invalid("the @context nests too deeply", field="@context", rule=f"at most {JSON_DEPTH} levels")
    if isinstance(source, list):
        return [_anchored(part, base, left - 1) for part in source]
    if not isinstance(source, dict):
        return source
    found = {
        term: each | {"@context": _anchored(each["@context"], base, left - 1)}
        for term, each in source.items()
        if isinstance(each, dict) and "@context" in each
    }
    if isinstance(source.get("@import"), str):
        found["@import"] = urljoin(base, source["@import"])
    return source | found


def _check(document: Source) -> None:
    """Invalid when a context breaks JSON-LD's rules; what it names elsewhere is not looked at."""
    named = list(addresses(document))
    for address in named:
        if not address.startswith(("http://", "https://")):
            raise Invalid(f"{address!r:.200} is not an address", field="@context", rule="an http or https address")
    compile_context(document, {address: {} for address in named})


def _say(done: asyncio.Future[Entry]) -> None:
    problem = None if done.cancelled() else done.exception()
    if problem is not None and not isinstance(problem, ContextUnavailable):  # that was said when it fell
        log.warning("context not renewed", problem=str(problem))
