"""Talks to Redis: clients without hidden retries, and calls of Lua scripts that travel in batches.

It may import ``shared.settings``, ``shared.message`` and the modules of ``shared`` itself. Start with ``client``,
then ``batch``; docs/decisions/redis-batching.md says why the batches exist.
"""
