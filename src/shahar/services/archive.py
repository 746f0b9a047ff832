"""A backup: one file that holds a city's store, what it is, and how to tell that nothing of it was lost.

The file is a tar (services/parcel); whichever engine keeps the city, the store in it is a file of SQLite, so that any
machine can look into it with tools of its own, and either engine takes it back. It is for its owner alone: it holds
what subscriptions and sources were told to sign in with.
Promises: a backup that was not finished is not there (it is written beside its name and renamed); it is one state of
the city, which may work meanwhile; it is put back only when its checksums, its counts and SQLite's own check agree, and
then at once: a file by store/keep.swap, a database in one transaction. A file that was there is kept aside, with the
sealed days that it names.
Refuses: a file of a later program, with its version; a store in which a process works; a city that is there, unless
that is to be replaced; a disk without room.
Does not: keep messages that wait in the bundled MQTT server (seconds of them), or the local key of a running process;
keep a database aside that is replaced.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NoReturn

from shahar.services import parcel
from shahar.services.parcel import Damaged, Manifest, Progress
from shahar.store import keep, transfer
from shahar.store.ends import FileEnd, end
from shahar.store.lake import LAKE, File, look
from shahar.values import instants
from shahar.values.errors import Conflict, Invalid, NotFound, Unavailable
from shahar.values.instants import SECOND, Instant

RESTORING: Final = "restoring.db"

# -- out --------------------------------------------------------------------------------------------------------------


def write(data: Path, to: Path, version: str, at: Instant, progress: Progress, *, database: str = "") -> Manifest:
    """Back up the city in `data` (its store in `database`, when that is named), in use or not, to the new file `to`.

    NotFound, Conflict, Unavailable.
    """
    source = data / keep.NAME
    if not database and not source.exists():
        raise NotFound(f"there is no city in {data}; name its folder with --data")
    if to.exists():
        raise Conflict(f"{to} is there already", field="file", rule="the name of a file that is not there yet")
    folder = to.parent
    need_room(folder, 0 if database else 2 * source.stat().st_size)
    part = folder / f".{to.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700)
        copied = part / keep.NAME
        if database:
            _out_of(database, copied, progress)
        else:
            keep.copy(source, copied, lambda done: progress("copying", done))
        days = keep.days(copied)
        made = _described(copied, days, version, at, progress)
        need_room(folder, made.bytes + made.sealed_bytes)
        parcel.pack(part / to.name, made, copied, data / LAKE, days, lambda done: progress("packing", done))
        (part / to.name).replace(to)
        keep.settle(folder)
    except (OSError, tarfile.TarError) as problem:
        raise Unavailable(f"{to} cannot be written: {getattr(problem, 'strerror', None) or problem}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _described(copied: Path, days: tuple[File, ...], version: str, at: Instant, progress: Progress) -> Manifest:
    checksum = parcel.checksum(copied, lambda done: progress("summing", done))
    return Manifest(
        version,
        keep.look(copied).schema,
        instants.text(at),
        copied.stat().st_size,
        checksum,
        keep.counts(copied),
        parcel.FORMAT if days else 1,
        sum(day.bytes for day in days),
    )


def _out_of(database: str, copied: Path, progress: Progress) -> None:
    """Write one state of a database to a file."""
    with _end(database) as giving, _end(copied) as taking:
        giving.check()
        taking.prepare()
        with giving.transaction(), taking.transaction():
            taking.clear()
            transfer.fill(giving, taking, lambda part, name: progress("copying", part, name))
    with copied.open("rb+") as written:
        os.fsync(written.fileno())


# -- in ---------------------------------------------------------------------------------------------------------------


def restore(
    file: Path, data: Path, at: Instant, *, replace: bool, progress: Progress, database: str = ""
) -> tuple[Manifest, str]:
    """Put the city of a backup into `data` (its store into `database`, when that is named); what it is, and the name
    under which the store that was there is kept aside (empty when there was none). Invalid, Conflict, Unavailable.
    """
    try:
        with parcel.opened(file) as (told, archive):
            _check_schema(told, file)
            data.mkdir(parents=True, exist_ok=True)
            with keep.owning(data):
                if not database and (data / keep.NAME).exists() and not replace:
                    rule = "--replace, which keeps the old one aside"
                    raise Conflict(f"there is a city in {data} already", field="data", rule=rule)
                need_room(data, told.bytes + told.sealed_bytes)
                new = data / RESTORING
                _unpack(archive, told, new, data / LAKE, file, progress)
                if database:
                    _into(database, new, replace, progress)
                    new.unlink()
                    return told, ""
                kept = keep.swap(data, new, f"{keep.NAME}.before-{at // SECOND}")
                _keep_days(data, kept)
                return told, kept
    except OSError as problem:
        raise Unavailable(f"{data} cannot be written: {problem.strerror or problem}") from None


def _check_schema(told: Manifest, file: Path) -> None:
    if told.schema > keep.SCHEMA:
        raise Invalid(
            f"{file} was made by shahar {told.version} with schema {told.schema}; this program knows up to"
            f" {keep.SCHEMA}: use the newer program",
            field="file",
        )


def _unpack(archive: tarfile.TarFile, told: Manifest, new: Path, lake: Path, file: Path, progress: Progress) -> None:
    """Write the store to `new` and its sealed days into the lake, each held against what is told of it."""
    try:
        parcel.take(archive, keep.NAME, told.bytes, told.sha256, new, lambda done: progress("unpacking", done))
        problem = keep.check(new, lambda done: progress("checking", done))
        if not problem and keep.counts(new) != told.counts:
            problem = "its tables hold other numbers of rows than it says"
        if problem:
            raise Damaged(problem)
        days = keep.days(new)
        renamed = {}
        for number, day in enumerate(days, 1):
            name = _place_day(archive, day, lake)
            if name != day.name:
                renamed[day.name] = name
            progress("sealed days", number / len(days))
        keep.rename_days(new, renamed)
    except Damaged as damage:
        _refuse(file, new, str(damage))


def _place_day(archive: tarfile.TarFile, day: File, lake: Path) -> str:
    """Put a sealed day into the lake; its name there, which is another one where a day of another city has it."""
    path = (lake / day.name).resolve()
    if lake.resolve() not in path.parents:
        raise Damaged(f"{day.name} is no name of a sealed day")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.part")
    parcel.take(archive, f"{LAKE}/{day.name}", day.bytes, day.sha256, fresh, lambda _done: None)
    if path.exists():
        if not look(lake, day, whole=True)[1]:
            fresh.unlink()
            return day.name
        numbers = (int(one.stem[5:]) for one in path.parent.glob("part-*.parquet") if one.stem[5:].isdigit())
        path = path.with_name(f"part-{max(numbers, default=0) + 1:06d}.parquet")
    fresh.replace(path)
    for folder in (path.parent, path.parent.parent, lake):
        keep.settle(folder)
    return str(path.relative_to(lake.resolve()))


def _keep_days(data: Path, kept: str) -> None:
    """Keep the sealed days that a store names which was put aside: nobody else names them any more."""
    for day in keep.days(data / kept) if kept else ():
        there, link = data / LAKE / day.name, data / (LAKE + kept.removeprefix(keep.NAME)) / day.name
        if there.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(there, link)


def _into(database: str, new: Path, replace: bool, progress: Progress) -> None:
    """Put a store that was checked into a database, all of it in one transaction."""
    keep.upgrade(new)
    with _end(new) as giving, _end(database) as taking, taking.holding():
        if taking.is_begun():
            raise Conflict("a move into this database was broken off", field="database", rule="shahar move --afresh")
        taking.prepare()
        with giving.transaction(), taking.transaction():
            if not taking.is_empty() and not replace:
                rule = "--replace; a database is not kept aside, so back it up first"
                raise Conflict("there is a city in the database already", field="database", rule=rule)
            taking.clear()
            transfer.fill(giving, taking, lambda part, name: progress("filling", part, name))
            transfer.compare(giving, taking, lambda part, name: progress("comparing", part, name))
            taking.settle()


@contextmanager
def _end(where: Path | str) -> Iterator[transfer.End]:
    with ExitStack() as stack:
        found = FileEnd(where) if isinstance(where, Path) else end(where)
        stack.callback(found.close)
        yield found


def _refuse(file: Path, new: Path, problem: str) -> NoReturn:
    new.unlink(missing_ok=True)
    raise Invalid(f"{file} is damaged: {problem}", field="file", rule="a backup that was not changed")


def need_room(folder: Path, needed: int) -> None:
    """Unavailable when a disk has not so many bytes free."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as problem:
        raise Unavailable(f"{folder} cannot be written: {problem.strerror}") from None
    if free < needed:
        rule = f"{needed / 1e6:.0f} MB; there are {free / 1e6:.0f} MB"
        raise Unavailable(f"there is no room in {folder}", rule=rule)
