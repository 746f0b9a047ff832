"""Rights as accounts hold them: a role in a tenant for types, or scopes of their own; and the actor that they make.

Promises: a role's rights are looked up here at each identification, not copied into records, so that a mended role is
mended for all who have it; nobody grants more than they hold.
Refuses: Invalid for rights that are none or too many, Forbidden for those that the giver does not hold.
Does not: decide (model/access does), read or write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shahar.model.access import (
    ANY,
    ROLES,
    Actor,
    Scope,
    Target,
    demand,
    granted,
    may_grant,
    scope_document,
    scope_from,
)
from shahar.services.accounts.book import ALL_TENANTS
from shahar.services.credentials import Place
from shahar.store.records import Record
from shahar.values.bounds import KEY_SCOPES, KEY_TYPES, LABEL_CHARS, TENANT_CHARS
from shahar.values.errors import Forbidden, Invalid


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights as they are stored: a role in a tenant for types, or scopes of their own."""

    role: str | None
    tenant: str
    types: tuple[str, ...]
    scopes: tuple[Scope, ...]

    def document(self) -> Record:
        """What of it is kept."""
        own = None if self.role else [scope_document(scope) for scope in self.scopes]
        return {"role": self.role, "tenant": self.tenant, "types": list(self.types), "scopes": own}


def grant(rights: str | Sequence[Scope], tenant: str, types: tuple[str, ...], by: Actor) -> Grant:
    """The rights, when `by` may give them. Raises Invalid, Forbidden."""
    if len(tenant) > TENANT_CHARS:
        raise Invalid("the tenant's name is too long", field="tenant", rule=f"at most {TENANT_CHARS} characters")
    role = rights if isinstance(rights, str) else None
    if role == "device":
        raise Invalid("a device's key is made with the device", field="role")
    types = ANY if "*" in types else tuple(sorted(set(types)))
    own = () if isinstance(rights, str) else tuple(rights)
    scopes = granted(role, tenant, types) if role else own
    if not scopes or not types or len(own) > KEY_SCOPES or any(len(scope.types) > KEY_TYPES for scope in scopes):
        raise Invalid(
            "rights are a role or scopes, for types", rule=f"1 to {KEY_SCOPES} scopes, 1 to {KEY_TYPES} types each"
        )
    if any(scope.tenant != tenant and tenant != ALL_TENANTS for scope in scopes):
        raise Invalid(f"the key belongs to tenant {tenant!r}: its scopes cannot lie in others", field="scopes.tenant")
    demand(by, Target("admin", "accounts", tenant))
    verdict = may_grant(by, scopes)
    if not verdict.allowed:
        raise Forbidden(verdict.why)
    return Grant(role, tenant, types, scopes)


def scopes_of(doc: Record) -> tuple[Scope, ...]:
    """The rights that a record gives now."""
    if doc.get("scopes") is not None:
        return tuple(scope_from(scope) for scope in doc["scopes"])
    if doc["role"] not in ROLES:  # a role of a later version: its holder has no rights here, and is no error
        return ()
    return granted(doc["role"], doc["tenant"], tuple(doc.get("types", ANY)))


def actor_of(place: Place, doc: Record) -> Actor:
    """Who has the person's, key's or device's record that lies in a place."""
    if place.kind == "device_key":
        return Actor(f"device:{place.key}", "device", doc["device"], granted("device", doc["tenant"]), doc["device"])
    return Actor(
        f"{place.kind}:{place.key}", "person" if place.kind == "person" else "key", doc["label"], scopes_of(doc)
    )


def label_of(text: str) -> str:
    """A name of somebody or of a key as it is kept; Invalid when it is none."""
    label = " ".join(text.split())
    if not label or len(label) > LABEL_CHARS or not label.isprintable():
        raise Invalid("a name is needed", field="label", rule=f"1 to {LABEL_CHARS} printable characters")
    return label
