"""The operations of the API by the names that a registration offers them under, and the groups of them.

Promises: `expanded` gives single operations alone.
Does not: do any of them.
Source: ETSI GS CIM 009 V1.9.1 clause 4.20 (tables 4.20-1 and 4.20-2), 4.3.6.2 (auxiliary).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PROVISION: Final = frozenset(
    "createEntity updateEntity appendAttrs updateAttrs deleteAttrs deleteEntity createBatch upsertBatch updateBatch "
    "deleteBatch upsertTemporal appendAttrsTemporal deleteAttrsTemporal updateAttrInstanceTemporal "
    "deleteAttrInstanceTemporal deleteTemporal mergeEntity replaceEntity replaceAttrs mergeBatch purgeEntity".split()
)
"""Operations that send something of ours to the source."""
_DISCOVERY: Final = frozenset(
    "retrieveEntityTypes retrieveEntityTypeDetails retrieveEntityTypeInfo retrieveAttrTypes retrieveAttrTypeDetails "
    "retrieveAttrTypeInfo".split()
)
_MAKING: Final = frozenset({"createEntityMapQueryEntity", "createEntityMapQueryTemporal"})
CONSUMPTION: Final = (
    _DISCOVERY | _MAKING | frozenset("retrieveEntity queryEntity queryBatch retrieveTemporal queryTemporal".split())
)
"""Operations that ask the source for something (clause 5.7): the only ones of an auxiliary source."""
_SUBSCRIPTION: Final = frozenset(
    "createSubscription updateSubscription retrieveSubscription querySubscription deleteSubscription".split()
)
_MAPS: Final = frozenset("retrieveEntityMap updateEntityMap deleteEntityMap createEntityMapQueryEntity".split())
IDENTITY: Final = "retrieveContextSourceIdentity"
OPERATIONS: Final = PROVISION | CONSUMPTION | _SUBSCRIPTION | _MAPS | {IDENTITY}

_ASSOCIATION: Final = frozenset({"retrieveEntity", "queryEntity", "queryBatch", IDENTITY}) | _DISCOVERY | _SUBSCRIPTION
GROUPS: Final[dict[str, frozenset[str]]] = {
    "federationOps": _ASSOCIATION | _MAPS,
    "associationOps": _ASSOCIATION,
    "updateOps": frozenset({"updateEntity", "updateAttrs", "replaceEntity", "replaceAttrs"}),
    "retrieveOps": frozenset({"retrieveEntity", "queryEntity"}),
    "redirectionOps": _DISCOVERY
    | _MAPS
    | frozenset(
        "createEntity updateEntity appendAttrs updateAttrs deleteAttrs deleteEntity mergeEntity replaceEntity "
        "replaceAttrs retrieveEntity queryEntity purgeEntity".split()
    )
    | {IDENTITY},
}
DEFAULT: Final = ("federationOps",)
AUXILIARY: Final = frozenset({"retrieveOps", "retrieveEntity", "queryEntity"})
"""What an auxiliary registration may offer (5.9.2.4)."""
TEMPORAL: Final = frozenset(name for name in OPERATIONS if name.endswith("Temporal"))


def expanded(names: Iterable[str]) -> frozenset[str]:
    """The single operations that names of operations and groups stand for."""
    found: set[str] = set()
    for name in names:
        found |= GROUPS.get(name, {name})
    return frozenset(found)
