"""Plays the providers for development and tests: one process that answers as the vendors do and fails on demand.

It imports nothing of the product and the product imports nothing of it: they meet on the wire only. Start with
``server``, then ``exchange``.

============  =============================================================================
``settings``  the options and variables
``server``    ``start()``: both listeners, in this process
``exchange``  one HTTP call: count, judge, apply the ordered fault, record, answer
``vendors``   what each vendor accepts and how it refuses; the user and template services
``smtp``      the mail server with its two accounts
``ledger``    every accepted call, and the number of calls
``attempts``  the number of calls for each request_id, accepted or not
``faults``    the ordered faults: mode, provider, count
``control``   ``/sandbox/*``: read the ledger, order a fault
============  =============================================================================
"""
