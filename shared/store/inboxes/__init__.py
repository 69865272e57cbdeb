"""Holds the statements on inboxes and their notifications; ``shared.store.store`` offers them. Start with ``changes``.

It may import the modules of ``shared.store`` except ``store`` and ``threads``. Every function works within the
transaction of its caller.
"""
