"""Names that strangers choose and we keep: which ones can be.

Promises: what passes here can stand in an address, a topic and a file's name.
Does not: tell whether something of that name exists.
"""

from __future__ import annotations

import re
from typing import Final

from shahar.values.bounds import TENANT_CHARS
from shahar.values.errors import Invalid

TENANT: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.\-]{{0,{TENANT_CHARS - 1}}}", re.ASCII)


def check_tenant(name: str, field: str = "tenant") -> None:
    """Invalid when this cannot be the name of a tenant; the default one's is empty."""
    if name and not TENANT.fullmatch(name):
        rule = f"letters, digits, _ . - and at most {TENANT_CHARS}"
        raise Invalid(f"{name!r:.80} is not a tenant's name", field=field, rule=rule)
