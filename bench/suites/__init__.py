"""The four measurements: push, gateway, isolation, memory."""
