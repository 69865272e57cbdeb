"""What every route needs of HTTP: strict JSON, size limits, API keys, CORS, problem documents (RFC 9457).

It may import ``shared``. Start with ``problem``, then ``body``.
"""
