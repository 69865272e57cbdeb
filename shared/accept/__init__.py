"""Checks a notification that an upstream hands over, and makes the messages to publish from it.

The gateway does it for HTTP and the relay for rows of a database. It may import ``shared.broker``, ``shared.message``
and the modules of ``shared`` itself. Start with ``candidate``.
"""
