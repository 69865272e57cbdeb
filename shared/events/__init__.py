"""Tells what happened to notifications: the events of which the timeline is made, and how they travel to the tracker.

It may import ``shared.broker`` and what lies below it; ``event`` and ``wire`` know no broker, so the rule book may use
them. Start with ``event`` (what is told), then ``reporter`` (how it is published); docs/timeline.md explains the whole.
"""
