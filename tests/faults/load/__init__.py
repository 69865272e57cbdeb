"""Sends notifications to the system under test, over HTTP and straight onto its queues. Start with ``traffic``."""
