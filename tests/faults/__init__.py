"""Breaks the running system on purpose and counts what is lost and what is sent twice: ``./notify prove``.

``scenarios`` says what is broken, ``harness`` runs a scenario, ``load`` sends, ``proxy`` and ``faults`` break,
``ledger`` compares what was accepted with what came of it, ``mutations`` are deliberate defects that must be caught,
``report`` writes docs/reliability.md. Start with ``harness.scenario``, then ``scenarios.calm``.
"""
