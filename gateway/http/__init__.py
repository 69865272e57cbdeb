"""Does the HTTP work that every route needs: strict JSON, size limits, API keys, CORS, problem documents (RFC 9457).

It may import ``shared``. Start with ``problem``, then ``body``.
"""
