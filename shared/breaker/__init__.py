"""Circuit breakers that admit or refuse calls to one provider or one source.

It is the only package that imports pybreaker. It may import ``shared.settings``, ``shared.message`` and the modules
of ``shared`` itself. Start with ``breaker`` (states and permits), then ``policy`` (when it opens, and for how long).
"""
