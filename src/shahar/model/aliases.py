"""Names of keywords in a body, put back to the standard's own: a user's @context may call @id and @type otherwise.

For: model/entity and whoever reads entities, before anything else is looked at; and for the context that their members
are read in (model/context `of_types`, `within`), which is found on the same way.
Promises: a body in which no such name stands is given back as it is; values are never touched.
An alias of @type that the scope of a type told by the standard's own name takes for something else is that; JSON-LD
would read what stands there as a type besides.
Does not: take the standard's own `id` and `type`, which are never aliases of anything else (clause 5.5.7).
Source: JSON-LD 1.1 section 4.1.5; JSON-LD 1.1 API section 5.1.2, steps 7 to 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from shahar.model.context import Context
from shahar.values.errors import Invalid

_MEMBER: Final = {"@id": "id", "@type": "type"}
_TYPES: Final = frozenset({"type", "@type"})


def opened(body: Any, context: Context) -> tuple[Any, Context]:
    """An entity with the standard's names for its id and its types, and the context of its other members. Raises
    Invalid."""
    if context.plain or not isinstance(body, dict):
        return body, context
    kinds = [kind for name in _TYPES if name in body for kind in _listed(body[name])]
    inner = _typed(kinds, context)
    renamed = {name for name in body if context.keyword(name) == inner.keyword(name) == "@type"}
    if renamed:
        inner = _typed([*kinds, *(kind for name in renamed for kind in _listed(body[name]))], context)
    words = {name: "@type" if name in renamed else inner.keyword(name) for name in body}
    if not any(words.values()):
        return body, inner
    found: dict[str, Any] = {}
    for name, value in body.items():
        member = _member(name, words[name])
        if member not in found:
            found[member] = value
        elif member == "type":
            found[member] = [*_listed(found[member]), *_listed(value)]
        else:
            rule = "JSON-LD 1.1: a keyword stands once in an object"
            raise Invalid(f"{name!r:.80} tells the {member} once more", field=name[:80], rule=rule)
    return found, inner


def _typed(kinds: list[Any], context: Context) -> Context:
    return context.of_types(kind for kind in kinds if isinstance(kind, str))


def _member(name: str, keyword: str | None) -> str:
    if keyword is None:
        return name
    if keyword not in _MEMBER:
        raise Invalid(
            f"{name!r:.80} stands for {keyword}, which an entity has not", field=name[:80], rule="aliases of @id, @type"
        )
    return _MEMBER[keyword]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def inside(
    name: str, given: Any, context: Context, is_attribute: Callable[[Mapping[str, Any]], bool]
) -> tuple[Any, Context]:
    """What stands in the member `name`, with the standard's name for the type of each attribute in it, and the context
    that it is read in. What `is_attribute` does not know for one is a value. Raises Invalid.
    """
    if context.plain:
        return given, context
    inner = context.within(name)
    if isinstance(given, list):
        return [_attribute(name, one, inner, is_attribute) for one in given], inner
    return _attribute(name, given, inner, is_attribute), inner


def _attribute(name: str, given: Any, context: Context, is_attribute: Callable[[Mapping[str, Any]], bool]) -> Any:
    if not isinstance(given, dict):
        return given
    words = {key: word for key in given if (word := context.keyword(key)) is not None}
    if not words:
        return given
    renamed = {"type" if words.get(key) == "@type" else key: value for key, value in given.items()}
    if not is_attribute(renamed):
        return given
    others = [key for key, word in words.items() if word != "@type"]
    if others or len(renamed) < len(given):
        field = f"{name}.{(others or list(words))[0]}"[:80]
        rule = "JSON-LD 1.1: aliases; of an attribute, @type alone and once"
        raise Invalid(f"{field} stands for a keyword that has no place there", field=field, rule=rule)
    return renamed


def id_in(body: Mapping[str, Any], context: Context) -> str:
    """The id that an entity tells under whatever name; empty when it tells none."""
    named = (value for name, value in body.items() if context.keyword(name) == "@id")
    return str(body.get("id", body.get("@id", next(named, ""))))
