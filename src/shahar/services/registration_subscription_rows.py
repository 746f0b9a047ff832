"""Registration subscriptions in the store: what is read and written of them, each as a work of one transaction.

Promises: the row of the journal that tells of a subscription says which registrations matched it at that moment.
Does not: hold anything in memory; SQL text (store/records).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from shahar.model import registration as registrations_model
from shahar.model import subscription as subscription_model
from shahar.model.registration import Record
from shahar.model.registration import interest as model
from shahar.model.registration.interest import Interest, Reads, Shown
from shahar.services import registrations
from shahar.services.lanes import Key
from shahar.services.ledger import Ledger
from shahar.store import records, tenants
from shahar.store.db import Tx
from shahar.values.instants import Instant

KIND: Final = "registration_subscription"
STATE: Final = "registration_subscription_state"

# -- in a reader ------------------------------------------------------------------------------------------------------


def matching(tx: Tx, number: int, interest: Interest, at: Instant, reads: Reads = None) -> list[Shown]:
    """The registrations of a tenant that match now, oldest first, without what they keep secret; those alone that
    somebody may see who may read registrations of the types `reads`."""
    found: list[tuple[int, Shown]] = []
    for _, _, record in records.every(tx, registrations.KIND, number):
        registration = registrations_model.compiled(record)
        places = interest.matched(registration, reads) if registration.live(at) else ()
        if places:
            found.append((registration.born, (registrations.without_info(record), places)))
    return [shown for _, shown in sorted(found, key=lambda row: row[0])]


# -- in the writer ----------------------------------------------------------------------------------------------------


def _put(tx: Tx, number: int, record: Record, at: Instant) -> None:
    """Keep a subscription; its row in the journal tells what matches it at this moment, nothing while it rests: whoever
    reads the row may know the subscription only as it was made later.
    """
    runs = subscription_model.status(record, at) == "active"
    found = matching(tx, number, model.compiled(record), at) if runs else []
    records.put(tx, KIND, number, record["id"], record, at, what=orjson.dumps({"matching": found}).decode())


LEDGER: Final = Ledger(KIND, STATE, _put)


def save(tx: Tx, states: Sequence[tuple[Key, dict[str, Any]]], at: Instant) -> None:
    """Keep the states of those who are still there."""
    for (tenant, subscription_id), state in states:
        number = tenants.number(tx, tenant)
        if records.get(tx, KIND, number, subscription_id) is not None:
            records.put(tx, STATE, number, subscription_id, state, at, journaled=False)
