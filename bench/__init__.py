"""Measures the product beside its peers: same work, same machine, same run. See ``python -m bench --help``.

These are the same for all: the envelope, the provider (nginx with a constant answer), RabbitMQ and Redis (private,
Redis with its append-only file), two worker processes, the messages in the queue before the workers start, and the
section that is measured (10 % to 95 % of the messages). The differences favour the peers: they use classic queues,
which cost the broker less than the product's quorum queues, and they write no log line per message.

Compare the ratios. The figures themselves depend on the machine, and they are reliable only if it is otherwise idle.
"""
