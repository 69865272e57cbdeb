"""Implements ``./notify store``, which migrates and keeps the database of the inboxes."""
