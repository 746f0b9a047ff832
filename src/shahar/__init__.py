"""Shahar: an open ICT platform for smart cities."""

__version__ = "0.1.0"
