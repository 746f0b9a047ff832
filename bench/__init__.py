"""Measures of speed and memory: `make bench` runs them all, docs/speed.md shows what came out.

Each figure stands beside a ceiling that was measured in the same run on the same machine, and beside the processor
time that it took, so that it means something on another machine too. Nothing here is a test: speed is never asserted.
"""
