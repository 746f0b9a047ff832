"""The tests. A package by name, so that no distribution that ships a package called `tests` can stand before it."""
