"""Implements ``./notify trace``, which tells the story of a notification from its timeline."""
