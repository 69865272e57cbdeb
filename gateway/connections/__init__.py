"""Guards the gateway's connections, because its server limits neither how long a body takes nor a head after idling.

It may import ``shared``. Start with ``guard`` (the rules), then ``progress`` (what the threads work on) and ``sockets``
(what the kernel knows about each connection).
"""
