"""Holds plain models of what the product promises, to compare it with or to search through."""
