"""Stand-in providers for development and tests: one process that speaks as the vendors do and fails on demand.

It imports nothing of the product and the product imports nothing of it: they meet on the wire alone.

=====================  ====================================================================
``settings``           what can be configured
``server``             ``start()``: both listeners, in this process
``exchange``           one HTTP call: count, judge, fault, record, answer
``fcm`` .. ``vonage``  one vendor each: what it accepts, how it refuses
``smtp``               the two mail accounts
``directory``          users and templates
``ledger``             every accepted call, and how many calls there were
``attempts``           how many calls came for each request_id, accepted or not
``faults``             what is to go wrong, for whom, how often
``control``            ``/sandbox/*``: read the ledger, order a fault
=====================  ====================================================================
"""
