"""Decides in Redis which delivery of a message may be sent, and records the result of each message.

Each transition of a claim is one Lua script under ``scripts/``. The package may import ``shared.redis`` and what lies
below it. Start with ``claims`` (records and transitions), then ``scripts/claim.lua``; docs/architecture.md draws the
states.
"""
