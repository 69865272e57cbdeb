"""Runs a worker process: takes messages from its channel's lanes, applies the rule book, carries out the outcomes.

It is the top layer of ``shared`` and may import all others; only ``services`` import it. Start with ``handler`` (one
message from its bytes to its ack), then ``settler`` (forward, record, ack), then ``worker`` (the modes). ``run``
wires the process together.
"""
