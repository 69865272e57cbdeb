"""Tests against a real RabbitMQ and a real Redis, each test in a virtual host or database of its own.

The folders are those of the product.
"""
