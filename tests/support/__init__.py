"""Helpers that several tests share: fakes, servers, generated certificates, waiting for a condition.

A test waits with ``waiting`` for what it expects and never sleeps for a fixed time.
"""
