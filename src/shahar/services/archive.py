"""A backup: one file that holds a city's store, what it is, and how to tell that nothing of it was lost.

The file is a tar: `manifest.json` first, then the store as SQLite's own file, so that any machine can look into it with
tools of its own. It is for its owner alone: it holds what subscriptions and sources were told to sign in with.
Promises: a backup that was not finished is not there (it is written beside its name and renamed); a backup is put back
only when its checksum, its counts and SQLite's own check agree, and then at once (store/keep.swap); what was there
before is kept aside.
Refuses: a file of a later program, with its version; a folder in which a process works; a folder with a city, unless
that is to be replaced; a disk without room.
Does not: keep messages that wait in the bundled MQTT server (seconds of them), or the local key of a running process.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Protocol

import orjson

from shahar.store import keep
from shahar.values import instants
from shahar.values.errors import Conflict, Invalid, NotFound, Unavailable
from shahar.values.instants import SECOND, Instant

FORMAT: Final = 1
RESTORING: Final = "restoring.db"
MANIFEST_BYTES: Final = 1_000_000
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 1 << 20


class Progress(Protocol):
    """Told again and again: what is being done, the part of it that is done (0 to 1), and a word about it."""

    def __call__(self, what: str, part: float, note: str = "", /) -> None: ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself: the program's version, the store's schema, when, how large, and its checksum."""

    version: str
    schema: int
    at: str
    bytes: int
    sha256: str
    counts: dict[str, int]
    format: int = FORMAT


def write(data: Path, to: Path, version: str, at: Instant, progress: Progress) -> Manifest:
    """Back up the city in `data`, in use or not, to the new file `to`. NotFound, Conflict, Unavailable."""
    source = data / keep.NAME
    if not source.exists():
        raise NotFound(f"there is no city in {data}; name its folder with --data")
    if to.exists():
        raise Conflict(f"{to} is there already", field="file", rule="the name of a file that is not there yet")
    folder = to.parent
    need_room(folder, 2 * source.stat().st_size)
    part = folder / f".{to.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700)
        copied = part / keep.NAME
        keep.copy(source, copied, lambda done: progress("copying", done))
        look = keep.look(copied)
        checksum = _checksum(copied, lambda done: progress("summing", done))
        made = Manifest(version, look.schema, instants.text(at), copied.stat().st_size, checksum, keep.counts(copied))
        _pack(part / to.name, made, copied, lambda done: progress("packing", done))
        (part / to.name).replace(to)
        keep.settle(folder)
    except OSError as problem:
        raise Unavailable(f"{to} cannot be written: {problem.strerror or problem}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def read(file: Path) -> Manifest:
    """What a backup says of itself. Invalid when it is none, or of a later program."""
    try:
        with tarfile.open(file, "r:") as archive:
            return _manifest(file, archive)
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except (tarfile.TarError, OSError) as problem:
        raise Invalid(f"{file} is no backup of a city: {problem}", field="file", rule=f"with {_MANIFEST}") from None


def restore(file: Path, data: Path, at: Instant, *, replace: bool, progress: Progress) -> tuple[Manifest, str]:
    """Put the city of a backup into `data`; what it is, and the name under which the city that was there is kept aside
    (empty when there was none). Invalid, Conflict, Unavailable.
    """
    told = read(file)
    if told.schema > keep.SCHEMA:
        raise Invalid(
            f"{file} was made by shahar {told.version} with schema {told.schema}; this program knows up to"
            f" {keep.SCHEMA}: use the newer program",
            field="file",
        )
    try:
        data.mkdir(parents=True, exist_ok=True)
        with keep.owning(data):
            if (data / keep.NAME).exists() and not replace:
                rule = "--replace, which keeps the old one aside"
                raise Conflict(f"there is a city in {data} already", field="data", rule=rule)
            need_room(data, told.bytes)
            new = data / RESTORING
            _unpack(file, told, new, lambda done: progress("unpacking", done))
            _hold_against(told, new, file, progress)
            return told, keep.swap(data, new, f"{keep.NAME}.before-{at // SECOND}")
    except OSError as problem:
        raise Unavailable(f"{data} cannot be written: {problem.strerror or problem}") from None


def _hold_against(told: Manifest, new: Path, file: Path, progress: Progress) -> None:
    problem = keep.check(new, lambda done: progress("checking", done))
    if not problem and keep.counts(new) != told.counts:
        problem = "its tables hold other numbers of rows than it says"
    if problem:
        _refuse(file, new, problem)


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


def _pack(to: Path, made: Manifest, copied: Path, progress: keep.Progress) -> None:
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        with tarfile.open(fileobj=out, mode="w:") as archive, copied.open("rb") as given:
            text = orjson.dumps(asdict(made), option=orjson.OPT_INDENT_2)
            for name, size, content in ((_MANIFEST, len(text), io.BytesIO(text)), (keep.NAME, made.bytes, given)):
                member = tarfile.TarInfo(name)
                member.size, member.mode = size, 0o600
                archive.addfile(member, _Watched(content, size, progress))
        out.flush()
        os.fsync(out.fileno())


class _Watched(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, given: IO[bytes], size: int, progress: keep.Progress) -> None:
        self._given, self._size, self._progress, self._read = given, max(1, size), progress, 0

    def read(self, size: int = -1) -> bytes:
        found = self._given.read(size)
        self._read += len(found)
        self._progress(self._read / self._size)
        return found


def _unpack(file: Path, told: Manifest, to: Path, progress: keep.Progress) -> None:
    """Write the store in a backup to `to`, durably. Invalid when it is not what it says."""
    total = hashlib.sha256()
    done = 0
    try:
        with tarfile.open(file, "r:") as archive, to.open("wb") as out:
            to.chmod(0o600)
            archive.next()
            member = archive.next()
            given = archive.extractfile(member) if member is not None and member.name == keep.NAME else None
            while given is not None and (chunk := given.read(_CHUNK)):
                total.update(chunk)
                out.write(chunk)
                done += len(chunk)
                progress(min(1.0, done / max(1, told.bytes)))
            out.flush()
            os.fsync(out.fileno())
        problem = "" if total.hexdigest() == told.sha256 else "its checksum is another"
    except tarfile.TarError as broken:
        problem = str(broken)
    if problem:
        _refuse(file, to, problem)


def _refuse(file: Path, new: Path, problem: str) -> NoReturn:
    new.unlink()
    raise Invalid(f"{file} is damaged: {problem}", field="file", rule="a backup that was not changed")


def _checksum(file: Path, progress: keep.Progress) -> str:
    total, size, done = hashlib.sha256(), max(1, file.stat().st_size), 0
    with file.open("rb") as given:
        while chunk := given.read(_CHUNK):
            total.update(chunk)
            done += len(chunk)
            progress(done / size)
    return total.hexdigest()


def need_room(folder: Path, needed: int) -> None:
    """Unavailable when a disk has not so many bytes free."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as problem:
        raise Unavailable(f"{folder} cannot be written: {problem.strerror}") from None
    if free < needed:
        rule = f"{needed / 1e6:.0f} MB; there are {free / 1e6:.0f} MB"
        raise Unavailable(f"there is no room in {folder}", rule=rule)
