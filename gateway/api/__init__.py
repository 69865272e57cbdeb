"""Declares the endpoints beside their handlers, in one file per resource; ``resources`` lists them all.

It may import ``shared`` and every other package of ``gateway``. Start with ``notifications``.
"""
