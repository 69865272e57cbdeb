"""Runs scenarios: starts the servers and the product's processes for each. Start with ``scenario``."""
