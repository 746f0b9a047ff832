"""Floor 4b: HTTP. It reads requests, asks services, writes answers; it speaks no SQL and decides nothing."""
