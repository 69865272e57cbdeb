"""``./notify breaker``: shows every worker's breakers and forces them open or closed.

It may import ``shared`` and the rest of ``ops``. Start with ``command``.
"""
