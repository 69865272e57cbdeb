"""Implements ``./notify failed``, the command line over ``shared.failed``.

It may import ``shared`` and the rest of ``ops``. Start with ``command``.
"""
