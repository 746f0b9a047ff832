"""Subscriptions in thought: what is asked for, which change concerns whom, what a notification says.

The rooms behind this door: `forms` (the record that is kept, and the record compiled), `members` (each member of a body
by itself), `record` (reading and changing a body as a whole), `match` (which change concerns whom), `index` (finding
those whom a change may concern), `show` (notifications, and a subscription as it is told).
Does not: know the journal, clocks, sockets; decide who may subscribe (`types_of` is what that decision needs).
Source: ETSI GS CIM 009 V1.9.1 clauses 5.2.12 to 5.2.15, 5.2.22, 5.2.33, 5.3.1, 5.8.1, 5.8.2, 5.8.6.
"""

from shahar.model.subscription.forms import (
    DEFAULT_TRIGGERS,
    GEO_JSON,
    JSON,
    LD_JSON,
    TRIGGERS,
    Endpoint,
    Record,
    Subscription,
    compiled,
)
from shahar.model.subscription.index import Index
from shahar.model.subscription.match import (
    Told,
    before,
    concerns,
    holds,
    laid_over,
    readable,
    selected,
    touches,
    types_of,
)
from shahar.model.subscription.record import parse, patched
from shahar.model.subscription.show import (
    Seen,
    Tally,
    docs_of,
    notification,
    outward,
    outward_address,
    seen,
    status,
    told,
)

__all__ = [
    "DEFAULT_TRIGGERS",
    "GEO_JSON",
    "JSON",
    "LD_JSON",
    "TRIGGERS",
    "Endpoint",
    "Index",
    "Record",
    "Seen",
    "Subscription",
    "Tally",
    "Told",
    "before",
    "compiled",
    "concerns",
    "docs_of",
    "holds",
    "laid_over",
    "notification",
    "outward",
    "outward_address",
    "parse",
    "patched",
    "readable",
    "seen",
    "selected",
    "status",
    "told",
    "touches",
    "types_of",
]
