"""Holds the six measurements: push, gateway, isolation, memory, store, realtime."""
