"""Simulates what is around the nodes, and devices that connect to them."""
