"""Holds the five measurements: push, gateway, isolation, memory, store."""
