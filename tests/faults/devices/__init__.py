"""Simulates devices that show inboxes, and compares what they show with the store. Start with ``device``."""
