"""Implements the SMS channel: Twilio and Vonage.

It may import ``shared``. Start with ``vonage``, the shorter of the two; ``__main__`` names the URL schemes.
"""
