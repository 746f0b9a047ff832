"""The file of a backup: a tar with `manifest.json`, the store as a file of SQLite, and the sealed days that it names.

For: archive.py, which knows what a backup is of.
Promises: what is taken out is held against the sizes and checksums that the file tells of itself; nothing is written
under a name that the caller has not given.
Refuses: a file that is none of ours, or of a later program, with its version.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import orjson

from shahar.store import keep
from shahar.store.lake import LAKE, File
from shahar.values.errors import Invalid, NotFound

FORMAT: Final = 2
"""1: without sealed days, which is what is written where there are none."""
MANIFEST_BYTES: Final = 1_000_000
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 1 << 20


class Progress(Protocol):
    """Told again and again: what is being done, the part of it that is done (0 to 1), and a word about it."""

    def __call__(self, what: str, part: float, note: str = "", /) -> None: ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself: the program's version, the store's schema, when, how large, its checksum, the rows
    of each table, and the bytes of all sealed days.
    """

    version: str
    schema: int
    at: str
    bytes: int
    sha256: str
    counts: dict[str, int]
    format: int = FORMAT
    sealed_bytes: int = 0


class Damaged(Exception):
    """The file is not what it says."""


@contextmanager
def opened(file: Path) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """A backup, and the tar behind its manifest. NotFound, Invalid when it is none, or of a later program."""
    try:
        with tarfile.open(file, "r:") as archive:
            yield _manifest(file, archive), archive
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except tarfile.TarError as problem:
        raise Invalid(f"{file} is no backup of a city: {problem}", field="file", rule=f"with {_MANIFEST}") from None


def _manifest(file: Path, archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    found = archive.extractfile(member) if member is not None and member.name == _MANIFEST else None
    if found is None:
        raise Invalid(f"{file} is no backup of a city", field="file", rule=f"a tar that begins with {_MANIFEST}")
    try:
        told: Any = orjson.loads(found.read(MANIFEST_BYTES))
        if told["format"] > FORMAT:
            raise Invalid(f"{file} was made by shahar {told['version']}: use the newer program", field="file")
        return Manifest(**told)
    except (orjson.JSONDecodeError, KeyError, TypeError) as problem:
        raise Invalid(f"{file} is no backup of a city: {problem}", field="file", rule=_MANIFEST) from None


def pack(to: Path, made: Manifest, store: Path, lake: Path, days: Sequence[File], progress: keep.Progress) -> None:
    """Write a backup, durably, for its owner alone."""
    text = orjson.dumps(asdict(made), option=orjson.OPT_INDENT_2)
    whole, done = max(1, made.bytes + made.sealed_bytes), 0
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        with tarfile.open(fileobj=out, mode="w:") as archive:
            _add(archive, _MANIFEST, len(text), io.BytesIO(text))
            for name, size, path in (
                (keep.NAME, made.bytes, store),
                *((f"{LAKE}/{day.name}", day.bytes, lake / day.name) for day in days),
            ):
                with path.open("rb") as given:
                    _add(archive, name, size, given)
                done += size
                progress(done / whole)
        out.flush()
        os.fsync(out.fileno())


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, content)


def take(archive: tarfile.TarFile, name: str, size: int, sha256: str, to: Path, progress: keep.Progress) -> None:
    """Write the next file of a backup to `to`, durably. Damaged when it is another one, or not what it should be."""
    total, done = hashlib.sha256(), 0
    try:
        member = archive.next()
        given = archive.extractfile(member) if member is not None and member.name == name else None
        if given is None:
            raise Damaged(f"{name} is not in it")
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            while chunk := given.read(_CHUNK):
                total.update(chunk)
                out.write(chunk)
                done += len(chunk)
                progress(min(1.0, done / max(1, size)))
            out.flush()
            os.fsync(out.fileno())
    except tarfile.TarError as problem:
        raise Damaged(str(problem)) from None
    if total.hexdigest() != sha256:
        raise Damaged(f"the checksum of {name} is another")


def checksum(file: Path, progress: keep.Progress) -> str:
    """SHA-256 of a file."""
    total, size, done = hashlib.sha256(), max(1, file.stat().st_size), 0
    with file.open("rb") as given:
        while chunk := given.read(_CHUNK):
            total.update(chunk)
            done += len(chunk)
            progress(done / size)
    return total.hexdigest()
