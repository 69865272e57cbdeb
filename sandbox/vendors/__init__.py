"""Holds one module per vendor or service that the sandbox plays: what it accepts, and how it refuses.

It may import the rest of ``sandbox`` and nothing of the product. Start with ``vonage``, the shortest.
"""
