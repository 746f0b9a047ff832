"""City systems, one folder each. A folder here is found by `plugins.py`; how to add one is told in docs/systems.md."""
