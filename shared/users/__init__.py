"""Knows who a user is: addresses and preferences, from the directory service.

It may import ``shared.lookup`` and what lies below it. Start with ``directory``.
"""
