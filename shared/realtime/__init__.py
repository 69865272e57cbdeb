"""Tells devices of changes in their inboxes: what the processes and the devices say to each other.

The rows of the store are the truth; everything here is a hint or a form in which rows travel. It may import
``shared.store``, ``shared.redis`` and what lies below them. Start with ``frames`` (what a device gets), then ``wakeup``
(how a process that changed an inbox tells the nodes); docs/realtime.md explains both.
"""
