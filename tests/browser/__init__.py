"""Tests what runs in browsers, in a real one: Debian's Chromium, driven by Playwright.

The server is ``tests.support.fakes.node``, which can fail in every way; a few tests use the product's own processes.
"""
