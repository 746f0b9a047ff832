"""User @contexts: fetched once, kept, compiled, and handed out as tables.

Promises: a request that names a known context waits for nobody; one address is fetched once at a time however many
ask; what was fetched outlives a restart; the core contexts are built in and never fetched. A table of local files
(`--contexts`) stands in for the network below the cache, so that a context that was forgotten is read again.
Does not: open sockets (`fetch` is given to it); compile (model/context).
Source: ETSI GS CIM 009 clauses 5.13, 6.3.5.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from shahar.model.context import CORE, Context, Source, addresses, compile_context
from shahar.store import records, tenants
from shahar.store.db import Database, Tx
from shahar.values.bounds import CONTEXT_BYTES, CONTEXT_S, CONTEXTS_KEPT, CONTEXTS_PER_REQUEST
from shahar.values.errors import ContextUnavailable, Invalid, ShaharError
from shahar.values.instants import Instant

Fetch = Callable[[str], Awaitable[bytes]]
KIND: Final = "context"


@dataclass(slots=True)
class Contexts:
    """The cache of contexts. `fetch(address)` brings a document's bytes or raises; `table` maps addresses to local
    files.
    """

    db: Database
    fetch: Fetch
    table: Mapping[str, Path] = field(default_factory=dict)
    _compiled: OrderedDict[bytes, Context] = field(default_factory=OrderedDict)
    _documents: dict[str, Source] = field(default_factory=dict)
    _underway: dict[str, asyncio.Future[Source]] = field(default_factory=dict)

    async def load(self) -> None:
        """Take up what was fetched in earlier runs."""
        kept = await self.db.read(lambda tx: records.every(tx, KIND))
        self._documents.update({key: record["context"] for _, key, record in kept})

    async def get(self, source: Source, at: Instant) -> Context:
        """The compiled context of what a request says under @context or Link. Raises Invalid, ContextUnavailable."""
        if not source:
            return CORE
        key = source.encode() if isinstance(source, str) else orjson.dumps(source)
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
            return found
        if len(key) > CONTEXT_BYTES:
            raise Invalid("the @context is too large", field="@context", rule=f"at most {CONTEXT_BYTES} bytes")
        documents = await self._gather(source, at)
        compiled = self._compiled[key] = compile_context(source, documents)
        while len(self._compiled) > CONTEXTS_KEPT:
            self._compiled.popitem(last=False)
        return compiled

    async def _gather(self, source: Source, at: Instant) -> dict[str, Source]:
        documents: dict[str, Source] = {}
        waiting = list(addresses(source))
        while waiting:
            address = waiting.pop()
            if address in documents:
                continue
            if len(documents) >= CONTEXTS_PER_REQUEST:
                raise Invalid(
                    "too many @contexts", field="@context", rule=f"at most {CONTEXTS_PER_REQUEST} in one request"
                )
            documents[address] = await self._document(address, at)
            waiting.extend(addresses(documents[address]))
        return documents

    async def _document(self, address: str, at: Instant) -> Source:
        if address in self._documents:
            return self._documents[address]
        if not address.startswith(("http://", "https://")) and address not in self.table:
            rule = "an http or https address"
            raise Invalid(f"{address!r:.200} is not the address of an @context", field="@context", rule=rule)
        underway = self._underway.get(address)
        if underway is None:
            underway = self._underway[address] = asyncio.ensure_future(self._bring(address, at))
            underway.add_done_callback(lambda _: self._underway.pop(address, None))
        return await asyncio.shield(underway)

    async def _bring(self, address: str, at: Instant) -> Source:
        try:
            local = self.table.get(address)
            raw = (
                await asyncio.to_thread(local.read_bytes)
                if local
                else await asyncio.wait_for(self.fetch(address), CONTEXT_S)
            )
        except (ShaharError, OSError, TimeoutError) as problem:
            raise ContextUnavailable(
                f"@context {address:.200} could not be read: {problem}", field="@context"
            ) from problem
        document = _context_in(raw, address)
        self._documents[address] = document
        await self.db.write(lambda tx: _keep(tx, address, document, at))
        return document


def _context_in(raw: bytes, address: str) -> Source:
    """What stands under @context in a document."""
    try:
        document: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ContextUnavailable(f"@context {address} is not JSON", field="@context") from None
    if not isinstance(document, dict) or "@context" not in document:
        raise ContextUnavailable(f"the document at {address} has no @context", field="@context")
    return document["@context"]


def _keep(tx: Tx, address: str, document: Source, at: Instant) -> None:
    records.put(tx, KIND, tenants.make(tx, "", at), address, {"context": document}, at, journaled=False)
