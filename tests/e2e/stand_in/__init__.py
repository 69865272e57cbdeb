"""Stands in for the product and does nothing, so that the command that runs it can be tested in seconds."""
