"""Compares what was accepted with what was delivered, failed or lost. Start with ``checker``."""
