"""A bound that nobody asks about is a promise that nobody keeps."""

from __future__ import annotations

import re
from pathlib import Path

from shahar.values import bounds

SOURCE = Path(bounds.__file__).parent.parent


def test_every_bound_is_used_by_some_room() -> None:
    text = "\n".join(file.read_text() for file in SOURCE.rglob("*.py") if file.name != "bounds.py")
    unused = [name for name in bounds.BOUNDS if not re.search(rf"\b{name.upper()}\b", text)]
    assert not unused, f"bounds that no room keeps: {', '.join(unused)}"
