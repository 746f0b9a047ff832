"""The one decision, as a table of roles, acts and resources, and as rules for tenants, types and devices."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model import access
from shahar.model.access import (
    ACTS,
    ANONYMOUS,
    ANY,
    HOUSE,
    LOCAL,
    OPEN,
    PUBLIC,
    RESOURCES,
    ROLES,
    TYPED,
    Act,
    Actor,
    Scope,
    Target,
    demand,
    granted,
    may,
    may_grant,
    readable_types,
)
from shahar.values.errors import Forbidden, Invalid, Unauthenticated

AIR = "https://example.org/AirQualityObserved"
PIPE = "https://example.org/Pipe"

# columns: entities temporal subscriptions registrations contexts devices intake accounts audit ops metrics
# r: reads, w: writes, a: administers
TABLE = """
resident       r   r   -   -   r   -   -   -   -   -   -
operator       rw  rw  rw  rw  rw  rw  w   -   -   rw  -
body-head      r   r   r   r   r   r   -   -   r   rw  -
auditor        r   r   r   r   r   r   -   r   r   r   r
administrator  rwa rwa rwa rwa rwa rwa rwa rwa rwa rwa rwa
device         -   -   -   -   -   -   w   -   -   -   -
"""
LETTERS: dict[Act, str] = {"read": "r", "write": "w", "admin": "a"}
CELLS = [
    (line.split()[0], resource, cell)
    for line in TABLE.strip().splitlines()
    for resource, cell in zip(RESOURCES, line.split()[1:], strict=True)
]


def actor(*scopes: Scope, device: str | None = None) -> Actor:
    return Actor("key:1", "device" if device else "key", "Ali", scopes, device)


def check(who: Actor, target: Target, expected: bool) -> None:
    assert may(who, target).allowed is expected, (who, target)


def test_the_table_tells_of_every_shipped_role() -> None:
    assert list(ROLES) == [line.split()[0] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("role", "resource", "cell"), CELLS)
def test_a_role_may_what_its_row_says_and_nothing_else(role: str, resource: str, cell: str) -> None:
    who = actor(*granted(role, "samarqand"))
    for act in ACTS:
        check(who, Target(act, resource, "samarqand"), LETTERS[act] in cell)
        check(who, Target(act, resource, "buxoro"), False)
        check(who, Target(act, resource), False)


def test_nobody_may_anything_in_a_closed_house() -> None:
    for act, resource, door in product(ACTS, RESOURCES, (False, True)):
        check(ANONYMOUS, Target(act, resource, door=door), False)


def test_public_reading_is_of_entities_history_contexts_and_operations_of_the_default_tenant() -> None:
    for act, resource, tenant in product(ACTS, RESOURCES, ("", "samarqand")):
        wanted = act == "read" and resource in ("entities", "temporal", "contexts", "ops") and tenant == ""
        check(PUBLIC, Target(act, resource, tenant), wanted)


@pytest.mark.parametrize("who", [OPEN, HOUSE, LOCAL])
def test_open_access_the_house_and_the_local_administrator_may_everything(who: Actor) -> None:
    for act, resource, tenant in product(ACTS, (*RESOURCES, "not-yet-invented"), ("", "samarqand", "*")):
        check(who, Target(act, resource, tenant), True)


def test_an_unknown_resource_is_refused() -> None:
    check(actor(*granted("operator", "*")), Target("read", "secrets"), False)


def test_acts_do_not_include_each_other() -> None:
    for held, asked in product(ACTS, ACTS):
        check(actor(Scope(held, "entities")), Target(asked, "entities"), held == asked)


@pytest.mark.parametrize(
    ("act", "types", "expected"),
    [
        ("read", (AIR,), True),
        ("read", (AIR, PIPE), True),
        ("read", (PIPE,), False),
        ("read", (), False),
        ("write", (AIR,), True),
        ("write", (AIR, PIPE), False),
        ("write", (), False),
        ("write", ("AirQualityObserved",), False),
    ],
)
def test_reading_wants_one_of_the_types_and_writing_all(act: Act, types: tuple[str, ...], expected: bool) -> None:
    check(actor(Scope(act, "entities", "", (AIR,))), Target(act, "entities", "", types), expected)


def test_types_of_several_scopes_count_together() -> None:
    who = actor(Scope("write", "entities", "", (AIR,)), Scope("write", "entities", "*", (PIPE,)))
    check(who, Target("write", "entities", "", (AIR, PIPE)), True)
    check(who, Target("write", "entities", "buxoro", (AIR, PIPE)), False)


def test_the_door_opens_for_some_type_and_not_for_none() -> None:
    who = actor(Scope("read", "entities", "", (AIR,)))
    check(who, Target("read", "entities", door=True), True)
    check(who, Target("write", "entities", door=True), False)
    check(who, Target("read", "entities", "buxoro", door=True), False)


def test_readable_types_narrow_a_query() -> None:
    cases: list[tuple[Actor, tuple[str, ...] | None]] = [
        (OPEN, None),
        (ANONYMOUS, ()),
        (PUBLIC, None),
        (actor(Scope("read", "entities", "", (PIPE, AIR)), Scope("read", "entities", "", (AIR,))), (AIR, PIPE)),
        (actor(Scope("read", "entities", "", (AIR,)), Scope("read", "entities")), None),
        (actor(Scope("read", "entities", "buxoro", (AIR,))), ()),
        (actor(Scope("write", "entities")), ()),
        (actor(Scope("read", "entities"), device="d1"), ()),
    ]
    for who, expected in cases:
        assert readable_types(who, "entities", "") == expected


SCOPES = st.builds(
    Scope,
    st.sampled_from(ACTS),
    st.sampled_from((*RESOURCES, "*")),
    st.sampled_from(("", "buxoro", "*")),
    st.sampled_from((ANY, (AIR,), (AIR, PIPE))),
)


@given(st.lists(SCOPES, max_size=4), st.sampled_from(TYPED), st.sampled_from(("", "buxoro")))
def test_what_the_narrowed_query_shows_is_what_may_be_read(scopes: list[Scope], resource: str, tenant: str) -> None:
    who = actor(*scopes)
    types = readable_types(who, resource, tenant)
    for one in (AIR, PIPE, "https://example.org/Other"):
        check(who, Target("read", resource, tenant, (one,)), types is None or one in types)
    check(who, Target("read", resource, tenant, door=True), types != ())


@given(st.lists(SCOPES, max_size=4), st.lists(SCOPES, max_size=3))
def test_whoever_may_grant_scopes_may_do_whatever_they_allow(own: list[Scope], given_away: list[Scope]) -> None:
    giver, taker = actor(*own), actor(*given_away)
    if may_grant(giver, given_away).allowed:
        for act, resource, tenant, types in product(ACTS, RESOURCES, ("", "buxoro"), ((), (AIR,), (AIR, PIPE))):
            target = Target(act, resource, tenant, types)
            assert may(giver, target).allowed or not may(taker, target).allowed


def test_a_device_acts_for_itself_alone() -> None:
    who = actor(*granted("device", "buxoro"), device="meter-7")
    check(who, Target("write", "intake", "buxoro", device="meter-7"), True)
    check(who, Target("write", "intake", "buxoro", device="meter-8"), False)
    check(who, Target("write", "intake", "buxoro"), False)
    check(who, Target("write", "intake", "", device="meter-7"), False)
    check(who, Target("write", "intake", "buxoro", door=True), True)
    check(who, Target("write", "intake", "buxoro", device="meter-8", door=True), False)
    check(who, Target("read", "intake", "buxoro", door=True), False)
    check(actor(*granted("administrator", "*"), device="meter-7"), Target("read", "entities"), False)


def test_a_role_limited_to_types_has_no_right_over_what_has_no_type() -> None:
    for role in ROLES:
        for scope in granted(role, "buxoro", (AIR,)):
            assert scope.tenant == "buxoro"
            assert (scope.resource in TYPED and scope.types == (AIR,)) or scope == Scope("read", "contexts", "buxoro")
    check(actor(*granted("administrator", "", (AIR,))), Target("write", "entities", "", (AIR,)), True)
    check(actor(*granted("administrator", "", (AIR,))), Target("admin", "accounts"), False)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(Invalid, match="no role"):
        granted("king", "")


def test_a_refusal_says_who_and_what() -> None:
    with pytest.raises(Unauthenticated, match="to write entities of the default tenant, sign in"):
        demand(PUBLIC, Target("write", "entities"))
    with pytest.raises(Forbidden, match="Ali may not administer accounts of tenant buxoro"):
        demand(actor(*granted("operator", "buxoro")), Target("admin", "accounts", "buxoro"))
    with pytest.raises(Forbidden, match="not for every type"):
        demand(actor(Scope("read", "entities", "", (AIR,))), Target("read", "entities"))
    demand(OPEN, Target("admin", "accounts"))


@given(SCOPES)
def test_a_scope_read_from_its_own_document_is_the_same(scope: Scope) -> None:
    assert access.scope_from(access.scope_document(scope)) == scope


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"act": "read"},
        {"act": "look", "resource": "entities"},
        {"act": "read", "resource": "everything"},
        {"act": "read", "resource": "entities", "tenant": None},
        {"act": "read", "resource": "entities", "types": []},
        {"act": "read", "resource": "entities", "types": "Air"},
        {"act": "read", "resource": "entities", "types": [1]},
        {"act": "read", "resource": "entities", "type": ["Air"]},
        {"act": ["read"], "resource": "entities"},
        {"act": "read", "resource": {}},
    ],
)
def test_a_document_that_tells_no_scope_is_refused(document: object) -> None:
    with pytest.raises(Invalid):
        access.scope_from(document)
