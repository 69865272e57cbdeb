"""Tests ``./notify`` as a whole: it runs as a process, as a user would run it."""
