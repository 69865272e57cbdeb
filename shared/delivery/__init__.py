"""Decides the outcome of one claimed message (the rule book), and does no I/O itself.

Its collaborators (the directory, the templates, the providers) are passed in. It may import ``shared.users``,
``shared.templates`` and what lies below them. Start with ``delivery``, then ``retry_policy``.
"""
