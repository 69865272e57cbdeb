"""Breaks the running system on purpose and counts lost messages and second sends: ``./notify prove``.

``scenarios`` says what is broken, ``harness`` runs a scenario, ``load`` sends, ``proxy`` and ``faults`` break,
``ledger`` compares the accepted messages with their ends, ``devices`` show inboxes and are compared with the store,
``mutations`` are deliberate defects that must be caught, ``report`` writes docs/reliability.md. Start with
``harness.scenario``, then ``scenarios.calm``.
"""
