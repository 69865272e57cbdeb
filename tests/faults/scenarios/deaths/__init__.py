"""Holds the scenarios in which processes of the product die."""
