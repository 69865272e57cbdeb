"""Holds one file per revision."""
