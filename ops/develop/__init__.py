"""Implements the commands for developers: ``./notify test``, ``check``, ``bench`` and ``prove``.

It may import the rest of ``ops``; the tests and benchmarks run as processes of their own. Start with ``check``.
"""
