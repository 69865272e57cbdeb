"""Holds the scenarios in which devices show inboxes while something breaks."""
