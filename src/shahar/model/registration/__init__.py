"""Registrations of context sources in thought: what a source offers, and which requests it takes part in.

How matching is asked for (by the distributed operations, the discovery, the registration subscriptions):

    ask = Ask("createEntity", ids=(doc["id"],), of_types=tuple(doc["type"]), attrs=frozenset(doc["attrs"]), via=aliases)
    who = parts(registrations, ask, at)          # services/registrations.Registrations.parts(tenant, ask, at) does both

`Ask` says what the request is about: the operation's name in clause 4.20 (`operations`), ids or a pattern, a selection
of types (or the types that a known entity has), the attributes that are wanted or written (None: all), datasets, geo
query, scope query, `Period` of a temporal query, and the aliases met in Via. `Parts` is the answer: a `Share` for every
source that takes part, by mode, with the ids, types and attributes that it may be asked for or sent (never more than it
registered, never more than the request asked), the proxied sources that do not offer the operation (`refused`), and the
attributes that are not held here (`taken`). A `Share` leads to its `Registration`: endpoint, tenant to name, headers,
management. What a source is sent before others is taken away from what is sent to these, as clause 5.6.1.4 says;
questions go to all.

The rooms behind this door: `operations` (their names and groups), `forms` (the record that is kept, and the record
compiled), `members` and `record` (reading and changing a body), `match` (who takes part), `periods` (the time asked
for), `index` (finding whom an ask may concern), `claims` (what proxied registrations exclude), `show` (a registration
as it is told), `interest` (subscriptions to registrations), `forwarding` (subscriptions at sources).
Does not: know clocks, sockets, the store; decide who may register (`types_of` is what that decision needs).
Source: ETSI GS CIM 009 V1.9.1 clauses 4.3.6, 4.20, 5.2.8 to 5.2.11, 5.2.34, 5.9, 5.10, 5.12.
"""

from shahar.model.registration.claims import claimed, clash, types_of
from shahar.model.registration.forms import (
    REQUESTED,
    Attrs,
    EntityInfo,
    Information,
    Interval,
    Management,
    Record,
    Registration,
    compiled,
)
from shahar.model.registration.index import Index
from shahar.model.registration.match import NOBODY, Ask, Parts, Share, matching, parts, shares
from shahar.model.registration.periods import Period, period
from shahar.model.registration.record import parse, patched
from shahar.model.registration.show import Tally, told

__all__ = [
    "NOBODY",
    "REQUESTED",
    "Ask",
    "Attrs",
    "EntityInfo",
    "Index",
    "Information",
    "Interval",
    "Management",
    "Parts",
    "Period",
    "Record",
    "Registration",
    "Share",
    "Tally",
    "claimed",
    "clash",
    "compiled",
    "matching",
    "parse",
    "parts",
    "patched",
    "period",
    "shares",
    "told",
    "types_of",
]
