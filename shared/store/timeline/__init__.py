"""Keeps the timeline: the events of each notification, and where it stands on each of its channels.

Start with ``rows`` (what goes in and comes out), then ``standing`` (how a status follows from events in any order),
then ``timeline`` (every operation). docs/timeline.md explains the whole.
"""
