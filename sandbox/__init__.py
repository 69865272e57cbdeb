"""Stand-in providers for development and tests: one process that speaks as the vendors do and fails on demand.

It imports nothing of the product and the product imports nothing of it: they meet on the wire alone. Start with
``server``, then ``exchange``.

============  =============================================================================
``settings``  what can be configured
``server``    ``start()``: both listeners, in this process
``exchange``  one HTTP call: count, judge, apply the fault that was ordered, record, answer
``vendors``   what each vendor accepts and how it refuses; the user and template services
``smtp``      the mail server with its two accounts
``ledger``    every accepted call, and how many calls there were
``attempts``  how many calls came for each request_id, accepted or not
``faults``    what is to go wrong, for whom, how often
``control``   ``/sandbox/*``: read the ledger, order a fault
============  =============================================================================
"""
