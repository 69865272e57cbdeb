"""The same work as ours written the usual way, each with the set-up that its own documentation recommends.

These modules run in ``.venv-bench`` and read three variables: BENCH_AMQP_URL, BENCH_REDIS_URL, BENCH_PROVIDER_URL.
"""
