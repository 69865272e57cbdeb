"""Defines what a notification is: its JSON envelope, its channels and lanes, its AMQP headers, its possible outcomes.

It does no I/O and may import only the modules of ``shared`` itself. Start with ``envelope``, then ``outcome``; a new
channel is one entry in ``channels``.
"""
