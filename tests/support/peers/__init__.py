"""Holds peers that play the other end of a connection: HTTP, SMTP and Redis servers that do what a test says."""
