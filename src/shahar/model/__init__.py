"""Floor 1: the city in thought. Pure; may fail only with Invalid; reads no clock, no disk, no socket."""
