"""``./notify up``, ``down``, ``status`` and ``logs``: every process of the system on one machine.

It may import ``shared`` and the rest of ``ops``. Start with ``up``, then ``keeper``.
"""
