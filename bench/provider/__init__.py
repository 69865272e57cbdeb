"""Holds stand-in providers that are fast enough not to be the bottleneck."""
