"""The shape of an entity: its types and the kinds of its attributes' instances, as one text by which shapes are told
apart.

For: store/shapes, which counts them; model/told, which tells an entity's shape as it is read.
Promises: two entities have the same text exactly when their types and their attributes' kinds are the same; members in
the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import orjson

REMEMBERED: Final = 1_000
"""Shapes met lately: most entities have one of few, and writing one takes longer than finding it."""


def written(types: Iterable[str], kinds: Mapping[str, Sequence[str]]) -> str:
    """The text for these types and IRI -> the type of each of its instances."""
    return orjson.dumps({"attrs": kinds, "types": sorted(types)}, option=orjson.OPT_SORT_KEYS).decode()


@lru_cache(maxsize=REMEMBERED)
def of(types: tuple[str, ...], iris: tuple[str, ...], kinds: tuple[str, ...]) -> str:
    """The text for these types and instances: the IRI and the type of each, those of one attribute in their order."""
    grouped: dict[str, list[str]] = {}
    for iri, kind in zip(iris, kinds, strict=True):
        grouped.setdefault(iri, []).append(kind)
    return written(types, grouped)
