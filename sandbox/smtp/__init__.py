"""Runs the sandbox's mail server: SMTP with faults that can be ordered at every step.

It may import the rest of ``sandbox`` and nothing of the product. Start with ``server``, then ``session``.
"""
