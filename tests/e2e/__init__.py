"""Tests of ``./notify`` as a whole: it is run as a process, as a user would."""
