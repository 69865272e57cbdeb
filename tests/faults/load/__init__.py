"""Sends notifications to the system under test, over HTTP and directly onto its queues. Start with ``traffic``."""
