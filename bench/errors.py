"""Defines the error that stops a measurement; the command prints it and exits 1."""


class BenchFailed(Exception):
    """Says that a contestant did not do the work in its time, or died; the text ends with the tail of its log."""
