"""Implements the e-mail channel: SMTP and SendGrid.

It may import ``shared``. Start with ``sendgrid``, the shorter of the two; ``__main__`` names the URL schemes. ``mail``
writes what they send.
"""
