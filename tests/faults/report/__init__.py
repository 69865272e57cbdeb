"""Writes docs/reliability.md from the results of a whole run."""
