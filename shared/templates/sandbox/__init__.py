"""Runs templates written by other people: a closed list of operations, each with a bound on what it can cost.

It may import only the modules of ``shared`` itself. Start with ``environment``.
"""
