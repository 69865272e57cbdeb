"""Ours beside its peers: same work, same machine, same run. ``python -m bench --help``.

What is the same for all: the envelope, the provider (nginx with a constant answer), RabbitMQ and Redis (private, Redis
with its append-only file), two worker processes, the messages in the queue before the workers start, the section that
is measured (10 % to 95 % of them). What differs is in the peers' favour: their queues are classic ones, which cost the
broker less than our quorum queues, and they write no log line a message.

Read the ratios. The figures themselves belong to the machine, and only an idle one tells the truth.
"""
