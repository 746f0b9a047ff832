"""The process that serves a folder, asked from the same machine by whoever owns the folder.

In FOLDER/local.key while it runs, for the folder's owner alone: its address, the secret that makes an administrator of
its bearer, and the certificate that it shows when it speaks https.
Promises: over https it is asked only when it shows that very certificate (its name is not looked at: we ask 127.0.0.1).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shahar.config import Settings
from shahar.values.errors import Unavailable

if TYPE_CHECKING:
    from ssl import SSLContext

NAME: Final = "local.key"
ASKING_S: Final = 10


def write(settings: Settings, secret: str) -> Path:
    """Say in the folder how this process is asked; the file."""
    file = settings.data / NAME
    shown = settings.tls_certificate
    lines = [settings.local_base, secret, *([str(shown.absolute())] if shown else [])]
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write("\n".join(lines) + "\n")
    return file


@dataclass(frozen=True, slots=True)
class Running:
    """How the process is asked."""

    base: str
    secret: str
    certificate: str = ""

    def ask(self, path: str, body: Any = None) -> str:
        """What it answers, as text; a body goes as JSON. Unavailable with its words when it refuses, or is not there
        (then ConnectionError is the cause).
        """
        from urllib.error import HTTPError, URLError  # a start of the server does not wait for what only this needs
        from urllib.request import Request, urlopen

        headers = {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.base + path, data=content, headers=headers, method="POST" if content else "GET")
        try:
            with urlopen(request, timeout=ASKING_S, context=self._trusted()) as answer:
                return str(answer.read().decode())
        except HTTPError as problem:
            raise Unavailable(f"the server answers {problem.code}: {_words(problem.read(2_000))}") from None
        except (URLError, OSError) as problem:
            why = getattr(problem, "reason", problem)
            raise Unavailable(f"the server does not answer: {why}") from (why if isinstance(why, OSError) else problem)

    def _trusted(self) -> SSLContext | None:
        if not self.certificate:
            return None
        import ssl

        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def running(folder: Path) -> Running | None:
    """How the process is asked that left its key in the folder; None when there is no key."""
    try:
        base, secret, *shown = (folder / NAME).read_text().split("\n")
    except (OSError, ValueError):
        return None
    return Running(base, secret, shown[0] if shown else "")


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
