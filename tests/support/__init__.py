"""Holds helpers that several tests share: fakes, servers, generated certificates, waiting for a condition.

A test waits for the condition that it expects, with ``waiting``; it never sleeps for a fixed time.
"""
