"""Actors, roles and the one decision: may this actor do this act on that resource?

For: every door of the house asks `may` (or `demand`, which raises), nothing else decides.
Promises: deny by default. A right exists only when a scope of the actor names the act, the resource and the tenant, and
its types fit; acts do not include each other (whoever may write need not be able to read: a gateway's key). An unknown
resource is refused to all but those who hold `*`. An actor who is a device has rights on its own device alone.

How types are judged. A scope names types as they are stored, whole IRIs (names are compared as given, never guessed);
`*` is any.
- read: one of the entity's types is enough, because an entity of two types is shown by a query for either;
- write, admin: every type that the entity has, or is to have, must be held (types of several scopes count together);
- a target that names no type needs a scope for any type: what is unknown is not granted. Only the door of a route,
  where the entity is not known yet, asks with `door=True` "for some type at least?", and whoever goes through it asks
  again with the types, or narrows the query to `readable_types`.

Does not: know who somebody is (services/accounts.identify), keep anything, read a clock.
Source: the role model is the plain core of ANSI INCITS 359 (RBAC0: roles as sets of rights, no inheritance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from shahar.values.errors import Forbidden, Invalid, Unauthenticated

Act = Literal["read", "write", "admin"]
Kind = Literal["anonymous", "person", "key", "device", "open"]

ACTS: Final[tuple[Act, ...]] = get_args(Act)
RESOURCES: Final = (
    "entities", "temporal", "subscriptions", "registrations", "contexts",
    "devices", "intake", "accounts", "audit", "ops", "metrics",
)  # fmt: skip
"""What rights are about. `ops` is the operations centre, `intake` what devices send, `audit` the record of acts on
accounts."""
TYPED: Final = ("entities", "temporal", "subscriptions", "registrations")
"""Resources whose content is entities of some types; only over these can a right be limited to types."""
ANY: Final = ("*",)
DEFAULT_TENANT: Final = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """One right: an act on a resource (`*`: on all) of a tenant (`*`: of all) for some types (`("*",)`: for all)."""

    act: Act
    resource: str
    tenant: str = "*"
    types: tuple[str, ...] = ANY


@dataclass(frozen=True, slots=True)
class Role:
    """A name for rights that go together; tenant and types are filled in where the role is given (`granted`)."""

    name: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. Made by services/accounts.identify and by the constants below, by nobody else."""

    id: str
    kind: Kind
    label: str
    scopes: tuple[Scope, ...] = ()
    device: str | None = None
    """The only device that the actor may act for; None: the actor is no device."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be done to what. `types`: those of the entity concerned; `device`: its name; `door`: see the
    module."""

    act: Act
    resource: str
    tenant: str = DEFAULT_TENANT
    types: tuple[str, ...] = ()
    device: str | None = None
    door: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, and for a refusal the sentence that is told."""

    allowed: bool
    why: str = ""


ALLOWED: Final = Verdict(True)


def _rights(act: Act, *resources: str) -> tuple[Scope, ...]:
    return tuple(Scope(act, resource) for resource in resources)


EVERYTHING: Final[tuple[Scope, ...]] = tuple(Scope(act, "*") for act in ACTS)
_SEES: Final = ("entities", "temporal", "contexts")
_BROKER: Final = ("subscriptions", "registrations")

ROLES: Final[dict[str, Role]] = {
    role.name: role
    for role in (
        Role("resident", _rights("read", *_SEES)),
        Role(
            "operator",
            _rights("read", *_SEES, *_BROKER, "devices", "ops")
            + _rights("write", *_SEES, *_BROKER, "devices", "intake", "ops"),
        ),
        Role("body-head", _rights("read", *_SEES, *_BROKER, "devices", "ops", "audit") + _rights("write", "ops")),
        Role("auditor", _rights("read", *_SEES, *_BROKER, "devices", "ops", "audit", "accounts", "metrics")),
        Role("administrator", EVERYTHING),
        Role("device", _rights("write", "intake")),
    )
}

ANONYMOUS: Final = Actor("anonymous", "anonymous", "nobody signed in")
"""No credential, closed house: may nothing."""
PUBLIC: Final = replace(
    ANONYMOUS,
    scopes=tuple(Scope("read", resource, DEFAULT_TENANT) for resource in ("entities", "temporal", "contexts", "ops")),
)
"""No credential where reading is public: reads entities, history, the @contexts that answers name, and the operations
centre of the default tenant."""
OPEN: Final = Actor("open", "open", "open access", EVERYTHING)
"""Everybody under `--access open` (conformance runs, development): may everything."""
HOUSE: Final = Actor("shahar", "open", "the platform itself", EVERYTHING)
"""The platform's own acts at its start (first link, the demo's devices); no request ever gets it."""
LOCAL: Final = Actor("local", "key", "administrator on this machine", EVERYTHING)
"""Whoever can read the machine's local key file, asking from this machine."""


def may(actor: Actor, target: Target) -> Verdict:
    """The only decision on access in the house."""
    if actor.device is not None and target.device != actor.device and not (target.door and target.device is None):
        return _refused(actor, target, f"a device acts for itself alone ({actor.device})")
    held = _types_held(actor, target.act, target.resource, target.tenant)
    if held is None or _fit(held, target):
        return ALLOWED
    return _refused(actor, target, f"not for {' '.join(target.types) or 'every type'}" if held else "")


def demand(actor: Actor, target: Target) -> None:
    """Return when the actor may; Unauthenticated when nobody is signed in, Forbidden when somebody is who may not."""
    verdict = may(actor, target)
    if not verdict.allowed:
        raise (Unauthenticated if actor.kind == "anonymous" else Forbidden)(verdict.why)


def readable_types(actor: Actor, resource: str, tenant: str) -> tuple[str, ...] | None:
    """The types that the actor may read there, in order; None: any type, (): nothing at all."""
    return () if actor.device is not None else _types_held(actor, "read", resource, tenant)


def may_write(actor: Actor, tenant: str) -> Callable[[Sequence[str]], bool]:
    """Whether the actor may change an entity of these types there: one question asked once, for many entities."""
    held = () if actor.device is not None else _types_held(actor, "write", "entities", tenant)
    return lambda types: held is None or (bool(types) and all(one in held for one in types))


def may_grant(actor: Actor, scopes: Iterable[Scope]) -> Verdict:
    """Whether every one of `scopes` lies within the actor's own: nobody gives away more than they hold."""
    for scope in scopes:
        if not any(_covers(own, scope) for own in actor.scopes):
            return Verdict(
                False, f"{actor.label} does not hold the right to {_words(scope.act, scope.resource, scope.tenant)}"
            )
    return ALLOWED


def granted(role: str, tenant: str, types: tuple[str, ...] = ANY) -> tuple[Scope, ...]:
    """A role's rights in one tenant (`*`: in all), limited to types; Invalid for an unknown role.

    Limited to types, the role keeps only its rights over typed resources and the reading of contexts: a right over what
    has no type (devices, accounts, the operations centre) would be a way round the limit.
    """
    if role not in ROLES:
        raise Invalid(f"there is no role {role!r:.60}", field="role", rule=f"one of {', '.join(ROLES)}")
    scopes = (replace(scope, tenant=tenant) for scope in ROLES[role].scopes)
    if types == ANY:
        return tuple(scopes)
    return tuple(narrow for scope in scopes for narrow in _limited(scope, types))


def scope_from(document: Any, field: str = "scopes") -> Scope:
    """The scope that a JSON object {act, resource, tenant, types} tells; Invalid when it tells none."""
    if not isinstance(document, dict) or document.keys() - {"act", "resource", "tenant", "types"}:
        raise Invalid("a scope is an object of act, resource, tenant and types", field=field)
    act, resource = document.get("act"), document.get("resource")
    tenant, types = document.get("tenant", DEFAULT_TENANT), document.get("types", list(ANY))
    if act not in ACTS:
        raise Invalid(f"{act!r:.60} is no act", field=f"{field}.act", rule=f"one of {', '.join(ACTS)}")
    if resource not in (*RESOURCES, "*"):
        raise Invalid(
            f"{resource!r:.60} is no resource", field=f"{field}.resource", rule=f"one of {', '.join(RESOURCES)}, *"
        )
    if not isinstance(tenant, str):
        raise Invalid("a tenant is a text", field=f"{field}.tenant")
    return Scope(act, resource, tenant, types_from(types, f"{field}.types"))


def types_from(document: Any, field: str = "types") -> tuple[str, ...]:
    """The types that a JSON list of texts names, in order and once each; Invalid for anything else or for none."""
    if (
        not isinstance(document, (list, tuple))
        or not document
        or not all(isinstance(one, str) and one for one in document)
    ):
        raise Invalid("types are a list of names, with at least one", field=field, rule='whole IRIs, or ["*"] for any')
    return ANY if "*" in document else tuple(sorted(set(document)))


def scope_document(scope: Scope) -> dict[str, Any]:
    """The scope as the JSON object that `scope_from` reads."""
    return {"act": scope.act, "resource": scope.resource, "tenant": scope.tenant, "types": list(scope.types)}


def _types_held(actor: Actor, act: Act, resource: str, tenant: str) -> tuple[str, ...] | None:
    held: set[str] = set()
    for scope in actor.scopes:
        if (
            scope.act == act
            and (scope.resource == "*" or scope.resource == resource)
            and (scope.tenant == "*" or scope.tenant == tenant)
        ):
            if "*" in scope.types:
                return None
            held.update(scope.types)
    return tuple(sorted(held))


def _fit(held: tuple[str, ...], target: Target) -> bool:
    if target.door:
        return bool(held)
    if target.act == "read":
        return any(one in held for one in target.types)
    return bool(target.types) and all(one in held for one in target.types)


def _covers(own: Scope, scope: Scope) -> bool:
    return (
        own.act == scope.act
        and own.resource in ("*", scope.resource)
        and own.tenant in ("*", scope.tenant)
        and ("*" in own.types or set(scope.types) <= set(own.types))
    )


def _limited(scope: Scope, types: tuple[str, ...]) -> Iterable[Scope]:
    resources = TYPED if scope.resource == "*" else (scope.resource,)
    for resource in resources:
        if resource in TYPED:
            yield replace(scope, resource=resource, types=types)
    if scope.act == "read" and scope.resource in ("*", "contexts"):
        yield replace(scope, resource="contexts", types=ANY)


def _refused(actor: Actor, target: Target, because: str) -> Verdict:
    asked = _words(target.act, target.resource, target.tenant)
    if actor.kind == "anonymous":
        return Verdict(False, f"to {asked}, sign in or send a key")
    return Verdict(False, f"{actor.label} may not {asked}" + (f": {because}" if because else ""))


def _words(act: Act, resource: str, tenant: str) -> str:
    verb = "administer" if act == "admin" else act
    return f"{verb} {resource} of {f'tenant {tenant}' if tenant else 'the default tenant'}"
