"""Implements ``./notify demo``: shows the main functions step by step on the development sandbox, and checks each step.

It may import ``shared`` and the rest of ``ops``. Start with ``command``.

============  ========================================================================
``command``   refuses systems that the demo must not touch, then runs all steps
``system``    uses the running system, or starts one for the demo alone
``steps``     shows delivered messages, and messages that fail
``outage``    shows a mail server that is down
``inboxes``   shows an inbox on several devices
``stage``     gives the steps what they can do and see, and limits how long they wait
``services``  calls the gateway and the sandbox over HTTP
``copies``    publishes a message directly to its queue
``devices``   runs the devices of a user, with the project's Python client
============  ========================================================================
"""
