"""Changes as data: the present document and a fragment give the next document and the list of what changed.

For: every write of the platform, from a single PATCH to a batch or a device's reading, so that history, journal and
notifications follow from one list. Documents are never altered in place: what changed is copied, what did not is
shared.
Promises: `set` and `gone` name exactly the instances that differ from before (a repeat of the same reading gives
neither); createdAt of an instance survives its updates; `modifiedAt` never goes backwards within an entity.
Does not: read or write anything; decide who may.
Source: ETSI GS CIM 009 clauses 5.6.1 to 5.6.6, 5.6.17 to 5.6.19, 5.5.11 (partial update), 5.5.12 (merge patch, RFC
7396).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from shahar.model import expiry
from shahar.model.entity import NULL, VALUE_MEMBER, Doc, Instance
from shahar.values.errors import Exists, Invalid, NotFound
from shahar.values.instants import Instant

_UNSAID: Final = object()

Kind = Literal[
    "create",
    "replace",
    "upsert",
    "append",
    "append_new",
    "update",
    "merge",
    "observe",
    "partial",
    "replace_attr",
    "delete_attr",
    "drop",
    "keep",
    "expire",
    "delete",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One wish: `kind` done to entity `id` with `fragment` (a document), or on attribute `attr` and instance `dataset`.

    create, replace, upsert (create or replace), append (POST attrs), append_new (the same, noOverwrite), update (PATCH
    attrs; what is not there is appended), merge, observe (a device's reading: the newest observedAt wins, older ones go
    to history alone), partial (PATCH one attribute), replace_attr (PUT one attribute), delete_attr (`every`: all its
    instances), drop and keep (of all attributes those named in the fragment, or those not named, are deleted), expire
    (what has ended goes), delete.
    """

    kind: Kind
    id: str
    fragment: Doc = field(default_factory=dict)
    attr: str = ""
    dataset: str = ""
    every: bool = False
    bare: bool = False
    lang: str = ""
    observed_at: Instant | None = None

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types that the wish names."""
        return tuple(self.fragment.get("type", ()))


@dataclass(slots=True)
class Applied:
    """What came of a change. `doc` is the entity afterwards, None when it is gone."""

    doc: Doc | None
    created: bool = False
    set: list[tuple[str, Instance]] = field(default_factory=list)
    gone: list[tuple[str, Instance]] = field(default_factory=list)
    late: list[tuple[str, Instance]] = field(default_factory=list)
    """Readings older than the present value: they belong to history alone."""
    updated: list[str] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    """Attributes that were not changed, each with the reason."""
    shell: bool = False
    """Whether types or scopes changed."""

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.set or self.gone or self.late or self.created or self.shell or self.doc is None)


def apply(change: Change, doc: Doc | None, at: Instant) -> Applied:
    """The outcome of `change` on `doc` (None: no such entity) at instant `at`. Raises NotFound, Exists, Invalid."""
    if doc is not None and at <= doc["modifiedAt"]:
        at = doc["modifiedAt"] + 1
    if doc is None:
        if change.kind in {"create", "upsert", "observe"}:
            return _create(change.fragment, at)
        raise NotFound(f"entity {change.id} does not exist", field="id")
    return _ACTS[change.kind](change, doc, at)


def _create(fragment: Doc, at: Instant) -> Applied:
    if not fragment.get("type"):
        raise Invalid("an entity needs a type", field="type", rule="ETSI GS CIM 009 clause 5.2.4")
    attrs: dict[str, list[Instance]] = {}
    doc: Doc = {**fragment, "createdAt": at, "modifiedAt": at, "attrs": attrs}
    if not doc.get("scope", True):
        del doc["scope"]
    if "expiresAt" in doc:
        _end(doc, doc.pop("expiresAt"), at)
    done = Applied(doc, created=True)
    for iri, instances in fragment["attrs"].items():
        kept = [instance for instance in instances if not _is_null(instance)]
        if kept:
            attrs[iri] = kept
            for instance in kept:
                if "expiresAt" in instance:
                    expiry.check(instance, at)
                instance["createdAt"] = instance["modifiedAt"] = at
                done.set.append((iri, instance))
    done.updated = list(attrs)
    return done


def _stamp(instance: Instance, old: Instance | None, at: Instant) -> Instance:
    """The instance with the system's own instants; Invalid when its end is in the past."""
    if "expiresAt" in instance and (old is None or old.get("expiresAt") != instance["expiresAt"]):
        expiry.check(instance, at)
    instance["createdAt"] = at if old is None else old.get("createdAt", at)
    instance["modifiedAt"] = at
    return instance


def _end(doc: Doc, end: Instant | None, at: Instant) -> None:
    """Let the entity end at an instant, or never."""
    if end is None:
        doc.pop("expiresAt", None)
        return
    doc["expiresAt"] = end
    expiry.check(doc, at)


def _is_null(instance: Instance) -> bool:
    value = instance.get("value")
    if type(value) is float or type(value) is int:  # most are; the rest takes three times as long
        return False
    value = instance.get(VALUE_MEMBER.get(instance["type"], "value"))
    return value == NULL or (type(value) is dict and value == {"@none": NULL})


def _open(doc: Doc, at: Instant) -> Applied:
    """A copy of the document whose attribute table may be written to."""
    return Applied({**doc, "attrs": dict(doc["attrs"]), "modifiedAt": at})


def _shell(done: Applied, fragment: Doc, *, keep_scope: bool = False) -> None:
    """Types are added, scopes replaced."""
    doc = done.doc
    assert doc is not None
    added = [kind for kind in fragment.get("type", ()) if kind not in doc["type"]]
    if added:
        doc["type"] = doc["type"] + added
        done.shell = True
    if keep_scope and "scope" in fragment:
        fragment = {**fragment, "scope": list(dict.fromkeys([*doc.get("scope", ()), *fragment["scope"]]))}
    if "scope" in fragment and fragment["scope"] != doc.get("scope"):
        if fragment["scope"]:
            doc["scope"] = fragment["scope"]
        else:
            doc.pop("scope", None)
        done.shell = True
    end = fragment.get("expiresAt", _UNSAID)
    if end is not _UNSAID and end != doc.get("expiresAt") and not (keep_scope and "expiresAt" in doc):
        _end(doc, end, doc["modifiedAt"])
        done.shell = True


def _put(done: Applied, iri: str, instance: Instance, at: Instant) -> None:
    """Set one instance in the opened document, in place of the one with its datasetId."""
    assert done.doc is not None
    attrs = done.doc["attrs"]
    listed = attrs.get(iri, ())
    dataset = instance.get("datasetId", "")
    for index, old in enumerate(listed):
        if old.get("datasetId", "") == dataset:
            attrs[iri] = [*listed[:index], _stamp(instance, old, at), *listed[index + 1 :]]
            break
    else:
        attrs[iri] = sorted([*listed, _stamp(instance, None, at)], key=_dataset)
    done.set.append((iri, instance))


def _dataset(instance: Instance) -> str:
    found: str = instance.get("datasetId", "")
    return found


def _like(instance: Instance) -> Callable[[Instance], bool]:
    """Whether another instance has the same datasetId."""
    dataset = _dataset(instance)
    return lambda other: _dataset(other) == dataset


def _take(done: Applied, iri: str, wanted: Callable[[Instance], bool]) -> bool:
    """Remove the instances that `wanted` says; whether there were any."""
    assert done.doc is not None
    attrs = done.doc["attrs"]
    listed = attrs.get(iri, ())
    going = [instance for instance in listed if wanted(instance)]
    staying = [instance for instance in listed if not wanted(instance)]
    if staying:
        attrs[iri] = staying
    else:
        attrs.pop(iri, None)
    done.gone.extend((iri, instance) for instance in going)
    return bool(going)


def _find(doc: Doc, iri: str, dataset: str) -> Instance | None:
    for instance in doc["attrs"].get(iri, ()):
        if instance.get("datasetId", "") == dataset:
            found: Instance = instance
            return found
    return None


# -- the acts -------------------------------------------------------------------------------------------------------


def _refuse_create(change: Change, _doc: Doc, _at: Instant) -> Applied:
    raise Exists(f"entity {change.id} exists already", field="id")


def _replace(change: Change, doc: Doc, at: Instant) -> Applied:
    fragment = change.fragment
    done = _create({**fragment, "type": fragment.get("type") or doc["type"]}, at)
    assert done.doc is not None
    done.created = False
    done.shell = True
    done.doc["createdAt"] = doc["createdAt"]
    for iri, instances in doc["attrs"].items():
        for old in instances:
            if _find(done.doc, iri, _dataset(old)) is None:
                done.gone.append((iri, old))
    return done


def _append(change: Change, doc: Doc, at: Instant) -> Applied:
    done = _open(doc, at)
    new_only = change.kind == "append_new"
    fragment = change.fragment
    if change.kind == "update" and "scope" in fragment and not doc.get("scope"):
        fragment = {key: value for key, value in fragment.items() if key != "scope"}
        done.missed.append(("scope", "the entity has no scope"))
    _shell(done, fragment, keep_scope=new_only)
    for iri, instances in fragment["attrs"].items():
        for instance in instances:
            if new_only and _find(doc, iri, _dataset(instance)) is not None:
                done.missed.append((iri, "the attribute exists already and noOverwrite was asked"))
            elif _is_null(instance):
                _take(done, iri, _like(instance))
                done.updated.append(iri)
            else:
                _put(done, iri, _without_nulls(instance) if NULL in instance.values() else instance, at)
                done.updated.append(iri)
    return done


def _observe(change: Change, doc: Doc, at: Instant) -> Applied:
    done = _open(doc, at)
    _shell(done, change.fragment)
    for iri, instances in change.fragment["attrs"].items():
        for instance in instances:
            old = _find(doc, iri, _dataset(instance))
            if old is not None and _same(old, instance):
                continue
            if old is not None and instance.get("observedAt", at) < old.get("observedAt", 0):
                done.late.append((iri, _stamp(instance, None, at)))
            else:
                _put(done, iri, instance, at)
                done.updated.append(iri)
    if not done.set and not done.shell:
        done.doc = doc
    return done


_STAMPS: Final = frozenset({"createdAt", "modifiedAt"})


def _same(old: Instance, new: Instance) -> bool:
    """Whether an instance tells again what is known: same value at the same instant, or the same value of a thing
    without instants.
    """
    return {k: v for k, v in old.items() if k not in _STAMPS} == {k: v for k, v in new.items() if k not in _STAMPS}


def _merge(change: Change, doc: Doc, at: Instant) -> Applied:
    done = _open(doc, at)
    _shell(done, change.fragment)
    for iri, instances in change.fragment["attrs"].items():
        for instance in instances:
            _merge_into(done, doc, iri, instance, change, at)
    return done


def _merge_into(done: Applied, doc: Doc, iri: str, instance: Instance, change: Change, at: Instant) -> None:
    old = _find(doc, iri, _dataset(instance))
    if _is_null(instance):
        _take(done, iri, _like(instance))
    elif old is None:
        without = _without_nulls(instance)
        if change.observed_at is not None:
            without.setdefault("observedAt", change.observed_at)
        _put(done, iri, without, at)
    else:
        merged = merge_instance(old, _as_type_of(old, instance, change.lang) if change.bare else instance)
        if change.observed_at is not None and "observedAt" not in instance:
            merged["observedAt"] = change.observed_at
        _put(done, iri, merged, at)
    done.updated.append(iri)


def _as_type_of(old: Instance, instance: Instance, lang: str) -> Instance:
    """A bare value takes the type of the attribute that it changes (simplified representation)."""
    member = VALUE_MEMBER[old["type"]]
    value = instance["value"]
    if old["type"] == "LanguageProperty" and isinstance(value, str):
        value = {lang or "@none": value}
    return {"type": old["type"], member: value}


def _without_nulls(instance: Instance) -> Instance:
    """A new instance cannot delete what is not there: members that say null are left out."""
    clean = {key: value for key, value in instance.items() if value != NULL}
    if isinstance(clean.get("languageMap"), dict):
        clean["languageMap"] = {key: value for key, value in clean["languageMap"].items() if value != NULL}
    if isinstance(clean.get("value"), dict) and clean["type"] != "GeoProperty":
        clean["value"] = merge_value({}, clean["value"])
    if "attrs" in clean:
        kept = {
            iri: [_without_nulls(one) for one in listed if not _is_null(one)] for iri, listed in clean["attrs"].items()
        }
        clean["attrs"] = {iri: listed for iri, listed in kept.items() if listed}
    return clean


def merge_value(old: Any, new: Any) -> Any:
    """RFC 7396 with urn:ngsi-ld:null in the place of null."""
    if not isinstance(new, dict):
        return new
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value == NULL or value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_value(merged.get(key), value)
    return merged


def merge_instance(old: Instance, new: Instance) -> Instance:
    """The old instance with the new one's members over it, values and sub-attributes merged in depth."""
    kind = new["type"] or old["type"]
    merged = {**old, "type": kind}
    if kind != old["type"]:
        merged.pop(VALUE_MEMBER[old["type"]], None)
    for key, value in new.items():
        if key in {"type", "attrs"}:
            continue
        if value == NULL:
            merged.pop(key, None)
        elif key in {"value", "json", "languageMap"} and kind != "GeoProperty":
            merged[key] = merge_value(merged.get(key), value)
        else:
            merged[key] = value
    if "attrs" in new:
        merged["attrs"] = _merge_subs(old.get("attrs", {}), new["attrs"])
        if not merged["attrs"]:
            del merged["attrs"]
    return merged


def _merge_subs(old: Mapping[str, list[Instance]], new: Mapping[str, list[Instance]]) -> dict[str, list[Instance]]:
    merged = dict(old)
    for iri, instances in new.items():
        listed = list(merged.get(iri, ()))
        for instance in instances:
            index = next((i for i, one in enumerate(listed) if _dataset(one) == _dataset(instance)), None)
            if _is_null(instance):
                listed = [one for one in listed if _dataset(one) != _dataset(instance)]
            elif index is None:
                listed.append(_without_nulls(instance))
            else:
                listed[index] = merge_instance(listed[index], instance)
        if listed:
            merged[iri] = listed
        else:
            merged.pop(iri, None)
    return merged


def _fragment_instance(change: Change) -> Instance:
    instance: Instance = change.fragment["attrs"][change.attr][0]
    return instance


def _missing(change: Change) -> NotFound:
    which = f" with datasetId {change.dataset}" if change.dataset else ""
    return NotFound(f"entity {change.id} has no attribute {change.attr}{which}", field="attrId")


def _partial(change: Change, doc: Doc, at: Instant) -> Applied:
    instance = _fragment_instance(change)
    old = _find(doc, change.attr, _dataset(instance))
    if old is None:
        raise _missing(change)
    if instance["type"] and instance["type"] != old["type"]:
        raise Invalid(
            f"the attribute is a {old['type']}, the fragment a {instance['type']}", field="type", rule="the same type"
        )
    done = _open(doc, at)
    if instance["type"] and _is_null(instance):
        _take(done, change.attr, _like(instance))
    else:
        merged = {**old, **{k: v for k, v in instance.items() if k not in {"type", "attrs"}}}
        merged = {key: value for key, value in merged.items() if value != NULL}
        if "attrs" in instance:
            merged["attrs"] = _merge_subs(old.get("attrs", {}), instance["attrs"])
        _put(done, change.attr, merged, at)
    done.updated.append(change.attr)
    return done


def _replace_attr(change: Change, doc: Doc, at: Instant) -> Applied:
    wanted = change.fragment["attrs"][change.attr]
    if any(_find(doc, change.attr, _dataset(instance)) is None for instance in wanted):
        raise _missing(change)
    done = _open(doc, at)
    for instance in wanted:
        _put(done, change.attr, instance, at)
    done.updated.append(change.attr)
    return done


def _delete_attr(change: Change, doc: Doc, at: Instant) -> Applied:
    done = _open(doc, at)
    if change.attr == "scope" and "scope" in doc and done.doc is not None:
        del done.doc["scope"]
        done.shell = True
        return done
    if not _take(done, change.attr, lambda one: change.every or _dataset(one) == change.dataset):
        raise _missing(change)
    done.updated.append(change.attr)
    return done


def _strip(change: Change, doc: Doc, at: Instant) -> Applied:
    named = change.fragment["attrs"]
    done = _open(doc, at)
    for iri in doc["attrs"]:
        if (iri in named) == (change.kind == "drop"):
            _take(done, iri, lambda _: True)
            done.updated.append(iri)
    if change.kind == "drop" and "scope" in change.fragment and "scope" in doc and done.doc is not None:
        del done.doc["scope"]
        done.shell = True
    if not done.gone and not done.shell:
        done.doc = doc
    return done


def _expire(change: Change, doc: Doc, at: Instant) -> Applied:
    if expiry.ended(doc, at):
        return _delete(change, doc, at)
    done = _open(doc, at)
    for iri, instances in doc["attrs"].items():
        _take(done, iri, lambda one: expiry.ended(one, at))
        for instance in instances:
            if not expiry.ended(instance, at) and (kept := expiry.left(instance, at)) is not instance:
                _put(done, iri, dict(kept), at)
    if not done.gone and not done.set:
        done.doc = doc
    return done


def _delete(_change: Change, doc: Doc, _at: Instant) -> Applied:
    gone = [(iri, instance) for iri, instances in doc["attrs"].items() for instance in instances]
    return Applied(None, gone=gone)


_ACTS: Final[dict[str, Callable[[Change, Doc, Instant], Applied]]] = {
    "create": _refuse_create,
    "replace": _replace,
    "upsert": _replace,
    "append": _append,
    "append_new": _append,
    "update": _append,
    "merge": _merge,
    "observe": _observe,
    "partial": _partial,
    "replace_attr": _replace_attr,
    "delete_attr": _delete_attr,
    "drop": _strip,
    "keep": _strip,
    "expire": _expire,
    "delete": _delete,
}
