"""Fetches templates from the template service and renders them in a sandbox.

It may import ``shared.lookup``, ``shared.providers`` and what lies below them. Start with ``library``, then
``render``; the limits on what a template may cost are under ``sandbox``.
"""
