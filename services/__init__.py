"""Contains the worker processes: one package per channel, with the vendors of that channel.

A package here may import ``shared`` and itself, never another channel's package. ``python -m services.<channel>``
runs it.
"""
