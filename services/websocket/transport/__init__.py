"""Speaks with devices: WebSockets, server-sent events and long polls, all on one port.

It may import ``services.websocket`` and ``shared``; it is the only package that imports ``websockets``. Start with
``front`` (which reads the head of a request), then ``socket`` (an open WebSocket).
"""
