"""Defines what can be set: one group of settings per file, named after what it sets up.

A group may import ``shared.settings.types`` and the packages below ``shared.settings``; it does not know how settings
are read. Start with ``system``, the smallest; ``shared.settings.settings`` combines all groups.
"""
