"""Holds parts of the product whose behaviour a test chooses, one file per package that uses them.

``gateway_client`` builds the gateway's app over them.
"""
