"""Implements the push channel: Firebase Cloud Messaging.

It may import ``shared``. Start with ``fcm`` (one class with ``send``, and the table of the vendor's answers);
``__main__`` names the URL schemes.
"""
