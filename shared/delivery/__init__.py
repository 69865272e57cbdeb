"""The rule book: decides what becomes of one claimed message, and does no I/O of its own.

Everything that it asks (the directory, the templates, the providers) is passed in. It may import ``shared.users``,
``shared.templates`` and what lies below them. Start with ``delivery``, then ``retry_policy``.
"""
