"""`shahar` with less patience: what takes half a minute in a city takes a second or two here. For tests that would
wait.

Usage: hurried.py ARGUMENTS. Nothing but durations differs: after how long the MQTT server gives an unacknowledged
message again, and how long a request may take to come.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

from shahar import assembly, main
from shahar.ports.nats import Bounds
from shahar.values import bounds

AGAIN_S: Final = 2.0
BODY_S: Final = 1


def hurry() -> None:
    """Shorten the durations."""
    for room, name, shorter in ((assembly, "Bounds", partial(Bounds, ack_wait_s=AGAIN_S)), (bounds, "BODY_S", BODY_S)):
        setattr(room, name, shorter)


if __name__ == "__main__":
    hurry()
    raise SystemExit(main.main(sys.argv[1:]))
