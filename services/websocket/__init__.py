"""Implements the websocket channel: a notification is a row in the inbox of its user, shown on each of his devices.

A process has two halves, and WEBSOCKET_ROLE chooses among them. The *consumer* is a worker like those of the other
channels, whose provider ``inbox`` stores the notifications. The *node* serves devices: start with ``hub`` (what each
device is sent, and when), then ``node`` (which builds this half), then ``transport`` (what travels on the wire).
``__main__`` builds the process. It may import ``shared``; docs/realtime.md explains the rules that both halves keep.
"""
