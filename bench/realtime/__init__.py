"""Measures the websocket channel: what a socket costs, what a frame costs, and how long a notification takes.

``devices`` is the load: thousands of devices in a process of their own, the same for every server. ``fleet`` drives it,
``sender`` stores notifications and wakes their users as the product does, and ``posting`` posts at a constant rate.
``fan_out`` compares the node with servers that are written with ``websockets``, aiohttp and picows (``bench.peers``);
``arrival`` measures the whole way of a notification.
"""
