"""The command `shahar key`: an API key or a one-time link, for whoever owns the data folder.

Promises: made by the running server when there is one, so that it is known there at once, and else in its store.
Refuses: a folder in which there is no city (NotFound); what the server refuses (Unavailable with its words).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from shahar import local
from shahar.config import Settings
from shahar.model.access import HOUSE
from shahar.store.lock import owned
from shahar.values.errors import NotFound, Unavailable
from shahar.values.instants import Instant


def arguments(command: argparse.ArgumentParser) -> None:
    """Add what the command takes besides the data folder."""
    command.add_argument(
        "--role", default="administrator", help="resident, operator, body-head, auditor, administrator"
    )
    command.add_argument("--label", default="made on the command line", help="whose key it is")
    command.add_argument("--tenant", default="", help="the tenant it is for")
    command.add_argument("--days", type=int, default=90, help="days until it ends")
    command.add_argument("--link", action="store_true", help="a one-time link for a browser instead of a key")


async def make(settings: Settings, wish: argparse.Namespace, at: Instant) -> str:
    """The key, or the link's address."""
    process = local.running(settings.data)
    if process is not None and owned(settings.data / "shahar.db"):
        try:
            return await asyncio.to_thread(_ask, process, wish)
        except Unavailable as problem:
            if not isinstance(problem.__cause__, ConnectionError):
                raise
            # it has just stopped
    return await _in_store(settings, wish, at)


async def _in_store(settings: Settings, wish: argparse.Namespace, at: Instant) -> str:
    """Make it in the store of a city that does not run."""
    from shahar.services.accounts import Accounts
    from shahar.store.engines import connect

    if isinstance(settings.store, Path) and not settings.store.exists():
        raise NotFound(f"there is no city in {settings.data}; name its folder with --data")
    db = connect(settings.store)
    await db.open()
    try:
        accounts = Accounts(db, access=settings.access)
        if wish.link:
            token = await accounts.make_link(wish.role, wish.tenant, wish.label, at, by=HOUSE)
            return f"/welcome?token={token}"
        return (await accounts.make_key(wish.label, wish.role, wish.tenant, ("*",), wish.days, at, by=HOUSE))[1]
    finally:
        await db.close()


def _ask(process: local.Running, wish: argparse.Namespace) -> str:
    """Ask the running server for a key or a link."""
    body = {"label": wish.label, "role": wish.role, "tenant": wish.tenant}
    if wish.link:
        return str(json.loads(process.ask("/api/links", body))["link"])
    return str(json.loads(process.ask("/api/keys", body | {"days": wish.days}))["key"])
