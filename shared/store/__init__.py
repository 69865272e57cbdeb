"""Keeps the inboxes: every notification of the websocket channel is a row in SQLite or PostgreSQL.

It is the only package that imports SQLAlchemy, Alembic and psycopg. It may import ``shared.lookup`` and what lies below
it. Start with ``values`` (what goes in and comes out), then ``store`` (every operation); docs/store.md explains the
offsets and the rules of locking.
"""
