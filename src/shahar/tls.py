"""HTTPS by certificate files: `tls_certificate` (with its chain) and `tls_key`, in PEM.

Promises: a pair that cannot be used, or a key that anybody may read, stops the start with a sentence; files that change
are taken up within a minute (at once at SIGUSR1), new connections see the new certificate and old ones go on; a changed
pair that cannot be used is told in the log once, and the old one stays.
Does not: fetch or renew certificates (certbot, acme.sh or an authority of one's own do); speak TLS below 1.2.
Source: RFC 8446; the handshake that `examine` holds with itself is the one a browser would hold, without a name.
"""

from __future__ import annotations

import asyncio
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from shahar.services.doctor import Certificate
from shahar.values.errors import Unavailable
from shahar.values.instants import SECOND

LOOK_S: Final = 60
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: whether it has ended is judged by who reads `ends_at`."""


@dataclass(slots=True)
class Pair:
    """A certificate and its key as files, and the context of the server that shows them."""

    certificate: Path
    key: Path
    context: ssl.SSLContext = field(init=False)
    _seen: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._seen = self._stamps()
        self.context = load(self.certificate, self.key)

    def renew(self) -> None:
        """Take up the files when they have changed; what is wrong with them is logged once."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen, log = stamps, structlog.get_logger(__name__)
        try:
            load(self.certificate, self.key)  # apart: a pair that does not fit must not harm the one in use
            self.context.load_cert_chain(self.certificate, self.key)
        except (Unavailable, ssl.SSLError, OSError) as problem:
            log.error("the new certificate cannot be used; the old one stays", why=str(problem))
        else:
            log.info("the new certificate is in use", file=str(self.certificate))

    async def watch(self) -> None:
        """Look at the files again and again; cancelled at the end."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.renew()

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(file) for file in (self.certificate, self.key))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def load(certificate: Path, key: Path) -> ssl.SSLContext:
    """The context of a server that shows this certificate; Unavailable with a sentence."""
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            file.read_bytes()
        except OSError as problem:
            raise Unavailable(f"{name} {file} cannot be read: {problem.strerror}") from None
    if key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise Unavailable(f"tls_key {key} is open to others than its owner and group", rule=f"chmod 640 {key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, lambda: "")
    except (ssl.SSLError, ValueError) as problem:
        why = getattr(problem, "reason", None) or problem
        raise Unavailable(
            f"tls_certificate {certificate} and tls_key {key} cannot be used together: {why}",
            rule="PEM; the certificate first, then its chain; the key of that certificate, without a password",
        ) from None
    return context


def examine(certificate: Path, key: Path) -> Certificate:
    """What a client would see of the pair, by a handshake in memory: until when it is valid, or what is wrong."""
    try:
        server = load(certificate, key)
        client = ssl.create_default_context(cafile=str(certificate))
        client.check_hostname = False
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        shown = _shaken(server, client)
    except (Unavailable, ssl.SSLError) as problem:
        return Certificate(str(certificate), fault=str(getattr(problem, "detail", problem)))
    ends, begins = (int(ssl.cert_time_to_seconds(str(shown[name]))) * SECOND for name in ("notAfter", "notBefore"))
    return Certificate(str(certificate), ends_at=ends, begins_at=begins)


def _shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """The certificate that `client` has taken from `server`."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, answering = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for _ in range(4):  # two round trips are enough for either version
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return dict(asking.getpeercert() or {})
