"""Every order of events that one request_id can meet between the broker, Redis, the provider and two workers.

The parts are small: ``rules`` (what the product could do, and what it does), ``state`` (what the world looks like),
``store`` (the Redis scripts), ``accounts`` (what may be explained by which event), ``moves`` (what can happen next),
``scenarios`` (how much of what goes wrong), ``exploration`` and ``liveness`` (the search).

Searched for: a message that is nowhere; one that the provider accepts more often than the events explain; two ends of
one life, or an end after a yes; more calls than attempts; a state from which nothing ends; copies that bounce for ever.

Run it by hand::

    python -m tests.models.claims                 the quick scenarios
    python -m tests.models.claims --all           all of them: many minutes, several GB
    python -m tests.models.claims --mutants       each wrong rule, with its shortest way into trouble

What it leaves out: expiry, several targets, poison, and times, but for the order that the leases give.
"""
