"""The demo city: real measurements of earlier years, replayed by a clock of its own, sent as devices send.

For: `shahar demo`. A newcomer sees a city that is alive, and every value in it says where it was measured, when, and
by whom.
Promises: no value is invented, mended or interpolated; what moves is the instant alone, and the original one stays
with the value. What was measured elsewhere is shown where it was measured. Where a series has nothing, nothing is said.
A simulated town (`--region`) is marked as such on every object.
Does not: take part in `shahar serve`; read the clock (`wall` is given); know the web or the store.
"""
