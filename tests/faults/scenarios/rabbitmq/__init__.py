"""Holds the scenarios in which RabbitMQ, its topology or the way to it fails."""
