"""How long the past is kept, and how fine: rules per tenant and type, made by administrators, kept as records.

    {"type": IRI or "*", "keepDays": 730, "thin": {"afterDays": 90, "period": "PT1H", "method": "mean"}}

A rule is about the entities of a type, that of "*" about all that no other rule names. It is done to sealed days
(services/sealing): so a day is thinned or dropped when it is as old as the rule says and is sealed.
Promises: what is no rule raises Invalid naming the member.
Does not: touch the past itself; take back what was thinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from shahar.model.access import Actor, Target, demand
from shahar.model.temporal import parse_period
from shahar.services import accounts
from shahar.store import records, tenants
from shahar.store.db import Database, Tx
from shahar.store.lake import METHODS, Thinning
from shahar.values.bounds import RETENTION_DAYS, RETENTION_RULES
from shahar.values.errors import Invalid, NotFound, TooMany
from shahar.values.instants import Instant

__all__ = ["METHODS", "PERIODS", "Rule", "drop", "due", "listed", "put", "read", "rules"]

KIND: Final = "retention"
ANY: Final = "*"
MEMBERS: Final = frozenset({"type", "keepDays", "thin"})
_THIN: Final = frozenset({"afterDays", "period", "method"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the past of a type: `keep_days` None: it is kept for ever; `every` microseconds one instance is
    left `after_days` days later, None: all are.
    """

    type: str
    keep_days: int | None = None
    after_days: int | None = None
    every: int = 0
    method: str = ""

    def shown(self) -> dict[str, Any]:
        """The rule as a document."""
        found: dict[str, Any] = {"type": self.type}
        if self.keep_days is not None:
            found["keepDays"] = self.keep_days
        if self.after_days is not None:
            period = next(name for name, every in PERIODS.items() if every == self.every)
            found["thin"] = {"afterDays": self.after_days, "period": period, "method": self.method}
        return found


PERIODS: Final = {
    f"PT{minutes}M" if minutes % 60 else f"PT{minutes // 60}H" if minutes < 1_440 else "P1D": minutes * 60_000_000
    for minutes in (1, 2, 3, 5, 6, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1_440)
}
"""Periods that a day is a whole number of, and how many microseconds they are."""


def read(body: Any) -> Rule:
    """The rule that a document tells; Invalid."""
    given = _members(body, MEMBERS, "body")
    kind = given.get("type")
    if not isinstance(kind, str) or not kind or " " in kind:
        raise Invalid("a rule is about a type", field="type", rule=f"the IRI of a type, or {ANY}")
    keep = _days(given["keepDays"], "keepDays") if "keepDays" in given else None
    if "thin" not in given:
        if keep is None:
            raise Invalid("the rule says nothing", field="keepDays", rule="keepDays, thin or both")
        return Rule(kind, keep)
    thin = _members(given["thin"], _THIN, "thin")
    after = _days(thin.get("afterDays"), "thin.afterDays")
    if keep is not None and keep <= after:
        raise Invalid("nothing would be left to be thinned", field="keepDays", rule="more than thin.afterDays")
    period = thin.get("period")
    every = parse_period(period).micros if isinstance(period, str) else 0
    if every not in PERIODS.values() or (isinstance(period, str) and parse_period(period).months):
        raise Invalid("a day is no whole number of such periods", field="thin.period", rule=", ".join(PERIODS))
    method = thin.get("method", METHODS[0])
    if method not in METHODS:
        raise Invalid(f"{method!r:.40} is no way to make one of several", field="thin.method", rule=", ".join(METHODS))
    return Rule(kind, keep, after, every, method)


def _members(given: Any, known: frozenset[str], field: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Invalid(f"{field} is an object", field=field, rule=", ".join(sorted(known)))
    for name in given:
        if name not in known:
            raise Invalid(f"{name!r:.40} is no member of a rule", field=f"{name:.40}", rule=", ".join(sorted(known)))
    return given


def _days(given: Any, field: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= RETENTION_DAYS:
        raise Invalid(f"{field} is a number of days", field=field, rule=f"1 to {RETENTION_DAYS}")
    return given


def due(rules: Sequence[Rule], age_days: int) -> list[Thinning]:
    """What the rules do to a day of this age; the rule about all the others last."""
    found = []
    for rule in sorted(rules, key=lambda rule: (rule.type == ANY, rule.type)):
        kind = "" if rule.type == ANY else rule.type
        if rule.keep_days is not None and age_days > rule.keep_days:
            found.append(Thinning(kind, 0, ""))
        elif rule.after_days is not None and age_days > rule.after_days:
            found.append(Thinning(kind, rule.every, rule.method))
        elif kind:
            found.append(Thinning(kind, -1, ""))
    return found if any(one.every >= 0 for one in found) else []


def rules(tx: Tx, tenant: int) -> list[Rule]:
    """The rules of a tenant."""
    return [read(doc) for _, _, doc in records.every(tx, KIND, tenant)]


# -- for administrators -----------------------------------------------------------------------------------------------


def id_of(kind: str) -> str:
    """The id of the rule about a type."""
    return sha256(kind.encode()).hexdigest()[:16]


async def listed(db: Database, tenant: str, *, by: Actor) -> list[dict[str, Any]]:
    """The rules of a tenant as documents with their ids; NoTenant."""
    demand(by, Target("admin", "temporal", tenant))
    found = await db.read(lambda tx: rules(tx, tenants.number(tx, tenant)))
    return [{"id": id_of(rule.type), **rule.shown()} for rule in sorted(found, key=lambda rule: rule.type)]


async def put(db: Database, tenant: str, rule: Rule, at: Instant, *, by: Actor) -> bool:
    """Write a rule in the place of the one about the same type; whether there was none. TooMany."""
    demand(by, Target("admin", "temporal", tenant))

    def work(tx: Tx) -> bool:
        number = tenants.make(tx, tenant, at)
        key = id_of(rule.type)
        new = records.get(tx, KIND, number, key) is None
        if new and records.count(tx, KIND, number) >= RETENTION_RULES:
            raise TooMany("too many rules", field="type", rule=f"at most {RETENTION_RULES} rules of a tenant")
        records.put(tx, KIND, number, key, rule.shown(), at)
        accounts.note(tx, number, at, by, "retention.put", rule.type)
        return new

    return await db.write(work)


async def drop(db: Database, tenant: str, rule_id: str, at: Instant, *, by: Actor) -> None:
    """Take out a rule; NotFound. What it has done stays done."""
    demand(by, Target("admin", "temporal", tenant))

    def work(tx: Tx) -> None:
        number = tenants.number(tx, tenant)
        if not records.drop(tx, KIND, number, rule_id, at):
            raise NotFound(f"there is no rule {rule_id!r:.60}", field="id")
        accounts.note(tx, number, at, by, "retention.dropped", rule_id)

    await db.write(work)
