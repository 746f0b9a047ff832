"""Floor 4b: HTTP. It reads requests, asks services, writes answers; it never speaks SQL and never decides what a change means."""
