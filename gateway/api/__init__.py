"""The routes: one file per resource, which reads the request, calls the part that does the work, and answers.

It may import ``shared`` and every other package of ``gateway``. Start with ``notifications``.
"""
