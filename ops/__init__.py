"""Implements the ``./notify`` command, which runs, watches, tests, measures and operates the whole system.

It may import ``shared``. It starts the gateway, the workers and the sandbox as processes and imports none of them.
Start with ``cli``, the table of subcommands.
"""
