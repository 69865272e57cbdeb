"""Holds what a whole run of tests shares: private servers, the order of the files, clocks, how many examples are tried.

``tests/conftest.py`` and ``./notify test`` use it. Start with ``servers``.
"""
