"""Works with the inboxes for the HTTP API: reads and changes them, and tells the devices of what changed.

It may import ``shared`` and ``gateway.http``. Start with ``inboxes``; ``answers`` is what callers see.
"""
