"""Holds the migrations of the database, one file per revision; Alembic loads ``env`` and the files by their paths.

A migration that was released is never changed. The next one is a new file and a new name in ``schema.REVISIONS``.
"""
