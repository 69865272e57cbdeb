"""Runs every process of the system on one machine: ``./notify up``, ``down``, ``status`` and ``logs``.

It may import ``shared`` and the rest of ``ops``. Start with ``up``, then ``keeper``.
"""
