"""From the house's document to what a caller asked for: normalised, concise, simplified, GeoJSON.

Promises: names are compacted by the caller's context; system members appear only when asked (`sys`); a member that the
document does not hold never appears. Pure: the same document and view give the same answer.
Does not: filter entities (model/query); look for linked entities (model/linking puts them in); know media types or
headers (web/ngsild); show the past (model/evolution).
Source: ETSI GS CIM 009 clauses 4.5.1 to 4.5.5, 4.5.16 (GeoJSON), 4.5.23 (linked entities), 4.21 (pick and omit).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from shahar.model.context import Context
from shahar.model.entity import VALUE_MEMBER, Doc, Instance
from shahar.model.projection import Projection
from shahar.values import instants

Form = Literal["normalized", "concise", "simplified", "aggregated"]
"""The last is for the past alone (model/evolution)."""
_SYSTEM: Final = ("createdAt", "modifiedAt", "deletedAt", "expiresAt")


@dataclass(frozen=True, slots=True)
class View:
    """How a caller wants to see entities. `attrs`, `pick`, `omit` hold expanded names; `pick` and `omit` also id, type,
    scope.

    `below`: by relationship, the view of the entities that it leads to, where it is another than of all their members.
    """

    context: Context
    form: Form = "normalized"
    sys: bool = False
    attrs: frozenset[str] = frozenset()
    pick: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()
    dataset: frozenset[str] | None = None
    lang: str = ""
    below: Mapping[str, View] = field(default_factory=dict, hash=False)


def through(projection: Projection, view: View) -> View:
    """The view with a projection in the place of its own, in it and below it."""
    below = {iri: through(part, view) for iri, part in projection.below.items()}
    return replace(view, pick=projection.pick, omit=projection.omit, below=below)


def entity(doc: Doc, view: View) -> dict[str, Any]:
    """The entity as the view shows it, without @context; empty when no member of it is left (clause 4.21)."""
    compact = view.context.compact
    context = within(doc, view)
    shown: dict[str, Any] = {}
    if _wanted("id", view):
        shown["id"] = doc["id"]
    if _wanted("type", view):
        shown["type"] = one_or_many([compact(kind) for kind in doc["type"]])
    if "scope" in doc and _wanted("scope", view):
        shown["scope"] = one_or_many(doc["scope"])
    for iri, instances in doc["attrs"].items():
        if not shows(iri, view):
            continue
        name = context.compact(iri)
        rendered = attribute(instances, below(view, context, name))
        if rendered is not None:
            shown[name] = rendered
    if view.sys and shown:
        shown |= {key: instants.text(doc[key]) for key in _SYSTEM if key in doc}
    return shown


def within(doc: Doc, view: View) -> Context:
    """The context that names the entity's members: that of its types, when they are shown."""
    context = view.context
    if context.plain or not _wanted("type", view):
        return context
    return context.of_types(map(context.compact, doc["type"]))


def below(view: View, context: Context, name: str) -> View:
    """The view of what stands in the member `name`, whose own name is of `context`."""
    return view if context.plain else replace(view, context=context.within(name))


def _wanted(member: str, view: View) -> bool:
    return member not in view.omit and (not view.pick or member in view.pick)


def shows(iri: str, view: View) -> bool:
    """Whether the view shows this attribute."""
    if view.attrs and iri not in view.attrs:
        return False
    return iri not in view.omit and (not view.pick or iri in view.pick)


def one_or_many(values: list[Any]) -> Any:
    """A list of one is written as its member."""
    return values[0] if len(values) == 1 else values


def chosen(instances: Iterable[Instance], view: View) -> list[Instance]:
    """The instances of an attribute whose dataset the view shows."""
    return [one for one in instances if view.dataset is None or one.get("datasetId", "@none") in view.dataset]


def attribute(instances: Iterable[Instance], view: View) -> Any:
    """One attribute in the view's form; None when no instance is shown."""
    kept = chosen(instances, view)
    if not kept:
        return None
    if view.form == "simplified":
        if len(kept) == 1:
            return simplified(kept[0], view)
        return {"dataset": {one.get("datasetId", "@none"): simplified(one, view) for one in kept}}
    return one_or_many([instance(one, view) for one in kept])


def simplified(one: Instance, view: View) -> Any:
    """The bare value of an instance (clause 4.5.4)."""
    kind = one["type"]
    value = one[VALUE_MEMBER[kind]]
    if kind == "VocabProperty":
        names = _vocab(value, view)
        return names if view.lang else {"vocab": names}
    if kind == "LanguageProperty":
        return _in_language(value, view.lang)[1] if view.lang else {"languageMap": value}
    if kind == "JsonProperty":
        return {"json": value}
    if "linked" in one:
        return _led_to(value, one["linked"])
    return value


def _led_to(value: Any, linked: Mapping[str, Any]) -> Any:
    """The ids of a relationship with the entities in their places that are known."""
    return [linked.get(uri, uri) for uri in value] if isinstance(value, list) else linked.get(value, value)


def _vocab(value: Any, view: View) -> Any:
    return [view.context.compact(part) for part in value] if isinstance(value, list) else view.context.compact(value)


def _in_language(languages: Any, lang: str) -> tuple[str, Any]:
    """The language and text that fit an Accept-Language-like wish best (clause 4.15)."""
    for wish in (part.partition(";")[0].strip() for part in lang.split(",")):
        for tag in (wish, wish.partition("-")[0]):
            if tag in languages:
                return tag, languages[tag]
    for tag in ("@none", "en"):
        if tag in languages:
            return tag, languages[tag]
    return next(iter(languages.items()), ("@none", ""))


def instance(one: Instance, view: View, *, inherited: Instance | None = None) -> Any:
    """One instance, normalised or concise."""
    kind = one["type"]
    member = VALUE_MEMBER[kind]
    shown: dict[str, Any] = {}
    if view.form == "normalized":
        shown["type"] = kind
    value = one.get(member)
    if kind == "VocabProperty":
        value = _vocab(value, view)
    if kind == "LanguageProperty" and view.lang and isinstance(value, dict):
        if "type" in shown:
            shown["type"] = "Property"
        tag, value = _in_language(value, view.lang)
        shown["value"] = value
        shown["lang"] = tag
    elif member in one:
        shown[member] = [{"object": uri} for uri in one[member]] if kind == "ListRelationship" else value
    if "linked" in one:
        shown["entityList" if kind == "ListRelationship" else "entity"] = _entities(value, one["linked"])
    if "previous" in one:
        _previous(one["previous"], shown, view)
    _members(one, shown, view, inherited)
    for iri, instances in one.get("attrs", {}).items():
        name = view.context.compact(iri)
        inner = below(view, view.context, name)
        shown[name] = one_or_many([instance(sub, inner, inherited=one) for sub in instances])
    if view.form == "concise" and len(shown) == 1 and member == "value":
        return value
    return shown


def _previous(old: Instance, shown: dict[str, Any], view: View) -> None:
    """What the instance was before the change that is told of: previousValue and its kin (clause 5.2.14.1)."""
    kind = old["type"]
    member = VALUE_MEMBER[kind]
    value = old[member]
    if kind == "VocabProperty":
        value = _vocab(value, view)
    elif kind == "ListRelationship":
        value = [{"object": uri} for uri in value]
    elif kind == "LanguageProperty" and view.lang:
        member, value = "value", _in_language(value, view.lang)[1]
    shown["previous" + member[0].upper() + member[1:]] = value


def _entities(value: Any, linked: Mapping[str, Any]) -> Any:
    """The linked entities of a relationship, in the order of its ids; the one alone where it has one id."""
    return [linked[uri] for uri in value if uri in linked] if isinstance(value, list) else linked[value]


def _members(one: Instance, shown: dict[str, Any], view: View, inherited: Instance | None) -> None:
    if "objectType" in one:
        shown["objectType"] = one_or_many([view.context.compact(kind) for kind in one["objectType"]])
    for key in ("unitCode", "valueType", "datasetId", "instanceId"):
        if key in one:
            shown[key] = one[key]
    if "observedAt" in one:
        shown["observedAt"] = instants.text(one["observedAt"])
    if view.sys:
        for key in _SYSTEM:
            at = one.get(key, inherited.get(key) if inherited and key in {"createdAt", "modifiedAt"} else None)
            if at is not None:
                shown[key] = instants.text(at)


def feature(doc: Doc, view: View, geometry_iri: str, dataset: str = "") -> dict[str, Any]:
    """The entity as a GeoJSON Feature whose geometry is the named GeoProperty, null when there is none (clause 4.5.16).

    Empty when no member of the entity is left.
    """
    shown = entity(doc, view)
    if not shown:
        return {}
    geometry = None
    for one in doc["attrs"].get(geometry_iri, ()):
        if one["type"] == "GeoProperty" and one.get("datasetId", "") == dataset:
            geometry = one["value"]
    identifier = shown.pop("id", doc["id"])
    return {"type": "Feature", "id": identifier, "geometry": geometry, "properties": shown}
