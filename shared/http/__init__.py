"""The HTTP client through which providers are called: one request is written at most once, over pooled connections.

It may import ``shared.settings``, ``shared.message`` and the modules of ``shared`` itself. Start with ``client``;
docs/decisions/own-http-client.md says why it is not a library's.
"""
