"""Searches every order of events that one request_id can meet between broker, Redis, provider and two workers.

The parts are small: ``rules`` (what the product could do, and what it does), ``state`` (what the world looks like),
``store`` (the Redis scripts), ``accounts`` (which event explains what), ``moves`` (what can happen next),
``scenarios`` (how much goes wrong), ``exploration`` and ``liveness`` (the search).

The search looks for a message that is lost; one that the provider accepts more often than the events explain; two ends
of one life, or an end after an acceptance; more calls than attempts; a state from which nothing ends; copies that are
sent to and fro indefinitely.

Run it by hand::

    python -m tests.models.claims                 the quick scenarios
    python -m tests.models.claims --all           all of them: many minutes, several GB
    python -m tests.models.claims --mutants       each wrong rule, with the shortest way to a broken promise

The model leaves out expiry, several targets, poison, and times, except for the order that the leases give.
"""
