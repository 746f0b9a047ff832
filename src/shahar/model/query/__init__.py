"""The questions of NGSI-LD: read once into one small tree, answered on a document here and in SQL by the store.

The rooms behind this door: `tree` (the nodes), `parse` (text -> tree, bounds), `evaluate` (tree x document -> yes or
no, the meaning clause by clause), `patterns` (regular expressions that cannot hang), `moments` (dates and times in
order).
Source: ETSI GS CIM 009 V1.9.1 clauses 4.9, 4.10, 4.17, 4.19.
"""

from shahar.model.query.evaluate import Follow, matches, matches_geo, matches_q, matches_scope, matches_types
from shahar.model.query.moments import moment
from shahar.model.query.parse import Expand, parse_geo, parse_id_pattern, parse_q, parse_scope, parse_types
from shahar.model.query.patterns import Pattern
from shahar.model.query.tree import (
    LOCATION,
    MOMENT_MEMBERS,
    TEXT_MEMBERS,
    And,
    AnyOf,
    Compare,
    Exists,
    Geo,
    GeoRel,
    Linked,
    Node,
    Op,
    Or,
    Path,
    Query,
    Range,
    Scalar,
    ScopeIs,
    TypeIs,
    Value,
    When,
    attributes,
    linked_depth,
    selected,
)

__all__ = [
    "LOCATION",
    "MOMENT_MEMBERS",
    "TEXT_MEMBERS",
    "And",
    "AnyOf",
    "Compare",
    "Exists",
    "Expand",
    "Follow",
    "Geo",
    "GeoRel",
    "Linked",
    "Node",
    "Op",
    "Or",
    "Path",
    "Pattern",
    "Query",
    "Range",
    "Scalar",
    "ScopeIs",
    "TypeIs",
    "Value",
    "When",
    "attributes",
    "linked_depth",
    "matches",
    "matches_geo",
    "matches_q",
    "matches_scope",
    "matches_types",
    "moment",
    "parse_geo",
    "parse_id_pattern",
    "parse_q",
    "parse_scope",
    "parse_types",
    "selected",
]
