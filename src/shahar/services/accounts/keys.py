"""Keys: of programs and returning people, which end, and of devices, one each.

Promises: a key's text is told once, by the work that makes it; a device's new key takes the place of its old one.
Refuses: TooMany for more than KEYS in a tenant.
Does not: decide who may make them or with which rights (rights, the door); forget what it ended (memory).
"""

from __future__ import annotations

from dataclasses import dataclass

from shahar.model.access import Actor, Scope
from shahar.services.accounts.book import home, note, put_secret
from shahar.services.accounts.rights import Grant, scopes_of
from shahar.services.credentials import Minted, device_name
from shahar.store import records
from shahar.store.db import Tx
from shahar.store.records import Record
from shahar.values.bounds import KEYS
from shahar.values.errors import TooMany
from shahar.values.instants import DAY, Instant


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is listed: everything but the secret."""

    id: str
    label: str
    role: str | None
    scopes: tuple[Scope, ...]
    tenant: str
    types: tuple[str, ...]
    made_at: Instant
    made_by: str
    ends_at: Instant
    used_at: Instant | None


def key_from(key: str, doc: Record) -> Key:
    """A key as it is listed."""
    return Key(
        key, doc["label"], doc["role"], scopes_of(doc), doc["tenant"], tuple(doc["types"]),
        doc["made_at"], doc["made_by"], doc["ends_at"], doc["used_at"],
    )  # fmt: skip


def make(tx: Tx, given: Grant, label: str, days: int, minted: Minted, at: Instant, by: Actor) -> tuple[str, str]:
    """(id, text) of a new key; TooMany."""
    number = home(tx, given.tenant, at)
    if records.count(tx, "key", number) >= KEYS:
        raise TooMany("the tenant has too many keys; revoke some", rule=f"at most {KEYS} for each tenant")
    doc = given.document() | {
        "label": label,
        "made_at": at,
        "made_by": by.id,
        "ends_at": at + days * DAY,
        "used_at": None,
    }
    key, text = put_secret(tx, "key", number, minted.name, minted.secret, doc, at)
    note(tx, number, at, by, "key.made", key, role=given.role, name=label, days=days)
    return key, text


def make_for_device(tx: Tx, device: str, tenant: str, ends_at: Instant, minted: Minted, at: Instant, by: Actor) -> str:
    """The text of the device's new key."""
    number = home(tx, tenant, at)
    doc: Record = {
        "device": device,
        "tenant": tenant,
        "made_at": at,
        "made_by": by.id,
        "ends_at": ends_at,
        "used_at": None,
    }
    key, text = put_secret(tx, "device_key", number, device_name(device), minted.secret, doc, at)
    note(tx, number, at, by, "device_key.made", key, device=device)
    return text


def end_of_device(tx: Tx, device: str, tenant: str, at: Instant, by: Actor) -> bool:
    """End the device's key; whether it had one."""
    number = home(tx, tenant, at)
    key = f"{number}-{device_name(device)}"
    if not records.drop(tx, "device_key", number, key, at):
        return False
    note(tx, number, at, by, "device_key.revoked", key, device=device)
    return True
