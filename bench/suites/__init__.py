"""Holds the four measurements: push, gateway, isolation, memory."""
