"""Envelopes, one file per network server: message -> device, payload, instant. Each declares `ENVELOPES` and imports
kit alone.
"""
