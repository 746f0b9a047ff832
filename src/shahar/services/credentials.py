"""Credentials: how they are drawn, written, and known again.

A credential is 256 random bits, told once, kept as SHA-256. A slow hash is for secrets that people choose: it makes
each of a few billion likely guesses dear. Among 2**256 equally likely ones nothing can be guessed, so slowness would
cost us alone, on each request.

The text of a credential is `sh?_<tenant number>-<id>_<secret>`: `shk` key, `shd` device's key, `shs` session, `sht`
one-time link, and `shl_<secret>` the local administrator's. The id is public (listings, audit, logs).

Comparison. Remembered credentials are found by their digest, stored ones by their id and then compared in constant time
by digest (`opens`); an attacker cannot steer a digest, so neither tells anything by its time.

Does not: keep anything, know what a credential is good for, or until when (services/accounts).
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b32encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from shahar.store.records import Record
from shahar.values.errors import Unauthenticated

_KINDS: Final = {"shk": "key", "shd": "device_key", "shs": "session", "sht": "link"}
_PREFIXES: Final = {kind: prefix for prefix, kind in _KINDS.items()}
_SHAPE: Final = re.compile(r"(shk|shd|shs|sht)_(([0-9]{1,9})-[a-z2-7]{16,32})_[A-Za-z0-9_-]{43}")
_ID: Final = re.compile(r"([0-9]{1,9})-[a-z2-7]{16,32}")
UNKNOWN: Final = "the credential is unknown or has ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a credential's record lies."""

    kind: str
    home: int
    key: str


@dataclass(frozen=True, slots=True)
class Minted:
    """The random parts of a new credential, drawn before the work so that a repeated work writes the same."""

    name: str
    secret: str


def new_local_secret() -> str:
    """A new local administrator's secret; main writes it to a file of mode 0600 at each start."""
    return f"shl_{secrets.token_urlsafe(32)}"


def mint() -> Minted:
    """The random parts of a new credential."""
    return Minted(_base32(secrets.token_bytes(10)), secrets.token_urlsafe(32))


def digest_of(text: str) -> bytes:
    """What is kept of a credential's text."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def device_name(device: str) -> str:
    """A name made from the device's, so that a device has one key and a new one takes the old one's place; short, for
    a key may have 72 bytes where it is hashed with bcrypt."""
    return _base32(sha256(device.encode()).digest()[:10])


def text_of(kind: str, key: str, secret: str) -> str:
    """The text of a credential: what its holder is told."""
    return f"{_PREFIXES[kind]}_{key}_{secret}"


def opens(doc: Record, digest: bytes) -> bool:
    """Whether the digest is that of the credential whose record this is; in constant time."""
    return hmac.compare_digest(bytes.fromhex(doc["digest"]), digest)


def home_of(key: str) -> int:
    """The number of the tenant that the id of a credential or a person belongs to; 0 when it is no such id."""
    found = _ID.fullmatch(key)
    return int(found[1]) if found else 0


def place_of(credential: str) -> Place | None:
    """Where the record of a credential lies by its text; None when the text is none of a stored credential."""
    found = _SHAPE.fullmatch(credential)
    return Place(_KINDS[found[1]], int(found[3]), found[2]) if found else None


def wanted(credential: str, kind: str) -> Place:
    """Where the record lies of a credential that must be of this kind; Unauthenticated."""
    place = place_of(credential)
    if place is None or place.kind != kind:
        raise Unauthenticated(UNKNOWN)
    return place


def _base32(content: bytes) -> str:
    return b32encode(content).decode().lower().rstrip("=")
