"""Holds what a whole run of tests shares: private servers, turns, clocks, how many examples are tried.

``tests/conftest.py`` and ``./notify test`` use it. Start with ``servers``.
"""
