"""Runs a TCP proxy between the application and a server, with faults that are set and lifted while it runs."""

from tests.faults.proxy.faults import Direction
from tests.faults.proxy.server import Proxy, proxy

__all__ = ["Direction", "Proxy", "proxy"]
