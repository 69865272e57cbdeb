"""The endpoints: one file per resource, which declares each endpoint beside its handler; ``resources`` lists them all.

It may import ``shared`` and every other package of ``gateway``. Start with ``notifications``.
"""
