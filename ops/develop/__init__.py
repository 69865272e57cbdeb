"""``./notify test``, ``check``, ``bench`` and ``prove``: what developers run.

It may import the rest of ``ops``; the tests and benchmarks run as processes of their own. Start with ``check``.
"""
