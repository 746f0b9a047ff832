"""Find systems and envelopes, check them, and hand over those that passed; the others are reported and stop nobody.

Where: the folders of `shahar/systems` and the files of `shahar/envelopes`; installed packages with entry points in
the groups `shahar.systems` (a module that holds `SYSTEM`, or `module:SYSTEM`) and `shahar.envelopes` (a module that
holds `ENVELOPES`); one more folder of systems that the operator names. In this order, and the first who takes a
name keeps it.
Promises: a plugin that cannot be imported, was written for another kit, is unsound, lacks a word in one of the
languages or takes a name that is taken, is left out whole with a reason for each fault; all others load as if it
were not there.
Does not: judge what the code of a plugin does: it runs in this process with all its rights, so install only what
you trust. The contract tests (tests/contract/test_systems.py) hold it to the rules that cannot be seen from
outside.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import io
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from babel.messages.pofile import PoFileError, read_po

from shahar.model.soundness import faults, profile_faults
from shahar.model.story import Sample, Story, sample_from, story_from
from shahar.model.system import (
    LANGUAGES,
    Catalogue,
    Envelope,
    Panels,
    System,
    Threshold,
    panels_from,
    rule_from,
    words_of,
)
from shahar.values.errors import Invalid, ShaharError

T = TypeVar("T")

SYSTEMS: Final = "shahar.systems"
ENVELOPES: Final = "shahar.envelopes"
HOME: Final = Path(__file__).parent

MAY_IMPORT: Final = frozenset(
    (
        "__future__",
        "array",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "collections.abc",
        "dataclasses",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "statistics",
        "string",
        "struct",
        "types",
        "typing",
        "zlib",
        "shahar.kit",
    )
)
"""What the code of a system or an envelope may import beside its own folder: kit, and the pure part of the standard
library.
"""

MAY_NOT_CALL: Final = frozenset(("open", "exec", "eval", "compile", "__import__", "input", "print", "breakpoint"))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A system that passed, with everything in its folder."""

    system: System
    folder: Path
    rules: tuple[Threshold, ...]
    panels: Panels
    words: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A plugin that was left out: its name, where it was found, and each reason in a sentence."""

    name: str
    where: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.where}) is left out: {'; '.join(self.reasons)}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that was discovered: what passed, as the catalogue that is handed down, and what was left out."""

    catalogue: Catalogue
    systems: tuple[Loaded, ...]
    failures: tuple[Failure, ...]


class Unfit(ShaharError):
    """A plugin that may not be used, with all its reasons."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


@dataclass
class _Search:
    """What was found so far."""

    envelopes: list[Envelope] = field(default_factory=list)
    systems: list[Loaded] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def fence(self, name: str, where: str, take: Callable[[], None]) -> None:
        """Take one plugin; whatever it does wrong stays its own."""
        try:
            take()
        except Unfit as unfit:
            self.failures.append(Failure(name=name, where=where, reasons=unfit.reasons))
        except (Exception, SystemExit) as broken:  # fence: a plugin may raise anything on import; the others go on
            reason = f"{type(broken).__name__}: {broken}"
            self.failures.append(Failure(name=name, where=where, reasons=(reason,)))

    def take_envelopes(self, module_name: str) -> None:
        """Add a module's envelopes, all or none."""
        told = getattr(importlib.import_module(module_name), "ENVELOPES", None)
        if not isinstance(told, tuple) or not told or not all(isinstance(one, Envelope) for one in told):
            raise Unfit(["it has no ENVELOPES, a tuple of kit.Envelope"])
        names = [one.name for one in (*self.envelopes, *told)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Unfit(f"the envelope {name!r} is there already" for name in twice)
        self.envelopes += told

    def take_system(self, module_of: Callable[[], ModuleType], attribute: str = "SYSTEM") -> None:
        """Add a module's system, when it and its folder are sound by themselves."""
        module = module_of()
        system = getattr(module, attribute, None)
        if not isinstance(system, System):
            raise Unfit([f"it has no {attribute}, a kit.System"])
        taken = [*_taken((one.system for one in self.systems), system)]
        if taken:
            raise Unfit(taken)
        self.systems.append(load(system, Path(module.__file__ or "").parent))

    def settle(self) -> Found:
        """Leave out systems whose profiles name what nobody has, until all that is left stands."""
        while True:
            catalogue = self.catalogue()
            unfit = [(one, _profiles_of(one.system, catalogue)) for one in self.systems]
            if not any(reasons for _, reasons in unfit):
                return Found(catalogue=catalogue, systems=tuple(self.systems), failures=tuple(self.failures))
            self.systems = [one for one, reasons in unfit if not reasons]
            for one, reasons in unfit:
                if reasons:
                    self.failures.append(Failure(name=one.system.key, where=str(one.folder), reasons=tuple(reasons)))

    def catalogue(self) -> Catalogue:
        """All that was taken, as it is handed down."""
        return Catalogue(
            systems=tuple(one.system for one in self.systems),
            envelopes=tuple(self.envelopes),
            rules={one.system.key: one.rules for one in self.systems},
            panels={one.system.key: one.panels for one in self.systems},
            words={one.system.key: one.words for one in self.systems},
        )


def discover(folder: Path | None = None, *, installed: bool = True) -> Found:
    """Every system and envelope: in the tree, installed (unless told not to look), in one more folder of systems."""
    search = _Search()
    for file in sorted((HOME / "envelopes").glob("[!_]*.py")):
        search.fence(file.stem, str(file), partial(search.take_envelopes, f"{ENVELOPES}.{file.stem}"))
    for point in entry_points(group=ENVELOPES) if installed else ():
        search.fence(point.name, point.value, partial(search.take_envelopes, point.module))
    for inside in _folders(HOME / "systems"):
        in_tree = partial(importlib.import_module, f"{SYSTEMS}.{inside.name}")
        search.fence(inside.name, str(inside), partial(search.take_system, in_tree))
    for point in entry_points(group=SYSTEMS) if installed else ():
        packaged = partial(importlib.import_module, point.module)
        search.fence(point.name, point.value, partial(search.take_system, packaged, point.attr or "SYSTEM"))
    for inside in _folders(folder) if folder is not None else ():
        search.fence(inside.name, str(inside), partial(search.take_system, partial(_import_folder, inside)))
    return search.settle()


def load(system: System, folder: Path) -> Loaded:
    """A system with what its folder holds; Unfit, with every reason, when they may not be used."""
    reasons: list[str] = [] if (folder / "README.md").is_file() else ["it has no README.md"]
    rules = _or_reason(reasons, partial(read_rules, folder)) or ()
    panels = _or_reason(reasons, lambda: panels_from(_toml(folder / "panels.toml"))) or Panels()
    reasons += faults(system, rules, panels)
    words = {language: _or_reason(reasons, partial(read_words, folder, language)) or {} for language in LANGUAGES}
    for language, told in words.items():
        missing = [key for key in words_of(system, rules) if not told.get(key)]
        if missing:
            reasons.append(f"words/{language}.po lacks {', '.join(missing)}")
    if reasons:
        raise Unfit(reasons)
    return Loaded(system=system, folder=folder, rules=rules, panels=panels, words=words)


def read_rules(folder: Path) -> tuple[Threshold, ...]:
    """The rules of a system's folder, none when it has no `rules.toml`; Invalid when the file is wrong."""
    told = _toml(folder / "rules.toml")
    if set(told) - {"rule"} or not isinstance(told.get("rule", []), list):
        raise Invalid("rules.toml holds [[rule]] tables and nothing else", field="rules.toml", rule="[[rule]]")
    return tuple(rule_from(row) for row in told.get("rule", []))


def read_words(folder: Path, language: str) -> dict[str, str]:
    """Key -> text of a system's words in a language; an entry marked fuzzy does not count. Invalid when there is no
    catalogue.
    """
    file = folder / "words" / f"{language}.po"
    try:
        # Babel knows neither kaa's formats nor every tag; no formats are needed here, so it is not told the language
        told = read_po(io.BytesIO(file.read_bytes()), abort_invalid=True)
    except (OSError, PoFileError) as wrong:
        raise Invalid(f"words/{language}.po cannot be read: {wrong}", field=language, rule="gettext") from None
    return {str(one.id): str(one.string) for one in told if one.id and one.string and not one.fuzzy}


def samples(folder: Path) -> dict[str, Sample]:
    """File name -> sample of a system; Invalid when one cannot be read."""
    files = sorted((folder / "samples").glob("*.json"))
    return {file.name: sample_from(file.read_text(encoding="utf-8"), file.name) for file in files}


def stories(folder: Path) -> tuple[Story, ...]:
    """The stories of a system; Invalid, with file and line, when one cannot be read."""
    files = sorted((folder / "stories").glob("*.story"))
    return tuple(story_from(file.read_text(encoding="utf-8"), file.name) for file in files)


def trespasses(source: str, where: str) -> list[str]:
    """What the code of a system or an envelope does that it may not: imports beside kit, reaching above its folder,
    I/O.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"{where}:{node.lineno} imports {one.name}" for one in node.names if one.name not in MAY_IMPORT]
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            found.append(f"{where}:{node.lineno} reaches above its folder")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module not in MAY_IMPORT:
            found.append(f"{where}:{node.lineno} imports {node.module}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAY_NOT_CALL:
            found.append(f"{where}:{node.lineno} calls {node.func.id}")
    return found


def _folders(home: Path) -> list[Path]:
    """Folders that may hold a system, in order of name."""
    inside = sorted(home.iterdir()) if home.is_dir() else []
    return [one for one in inside if (one / "__init__.py").is_file() and one.name[0] not in "_."]


def _import_folder(folder: Path) -> ModuleType:
    """A package from a folder outside the tree, under a name that its place makes its own, so that two can be read."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    name = f"shahar_system_{place}_{folder.name}"
    inside = [str(folder)]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise Unfit(["it is not a Python package"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # fence: not swallowed, only undone, so that a mended folder can be read again
        del sys.modules[name]
        raise
    return module


def _taken(systems: Iterable[System], system: System) -> Iterator[str]:
    """A sentence for each name that another system has already."""
    for other in systems:
        if other.key == system.key:
            yield f"the system {system.key!r} is there already"
        types = {one.type for one in other.models} & {one.type for one in system.models}
        yield from (f"the type {name!r} belongs to the system {other.key!r}" for name in sorted(types))


def _profiles_of(system: System, catalogue: Catalogue) -> list[str]:
    return [fault for profile in system.profiles for fault in profile_faults(catalogue, profile)]


def _toml(file: Path) -> dict[str, Any]:
    """A table of a system's folder; empty when there is no such file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, OSError) as wrong:
        raise Invalid(f"{file.name}: {wrong}", field=file.name, rule="TOML") from None


def _or_reason(reasons: list[str], get: Callable[[], T]) -> T | None:
    """What `get` gives, or None when it refuses and its reason was noted."""
    try:
        return get()
    except Invalid as wrong:
        reasons.append(wrong.detail)
        return None
