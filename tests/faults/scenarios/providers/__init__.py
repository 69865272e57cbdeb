"""Holds the scenarios in which a provider fails, refuses or asks for less speed."""
