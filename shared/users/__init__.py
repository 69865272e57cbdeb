"""Looks up users, with their addresses and preferences, in the directory service.

It may import ``shared.lookup`` and what lies below it. Start with ``directory``.
"""
