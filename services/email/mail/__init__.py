"""Writes a mail: what it says, its text beside its HTML, its headers, and all of it as MIME.

It may import ``shared``; it knows no provider. Start with ``content``, which every provider needs, then ``mime``.
"""
