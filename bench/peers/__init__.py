"""Does the product's work in the usual ways, each peer with the set-up that its own documentation recommends.

These modules run in ``.venv-bench`` and read three variables: BENCH_AMQP_URL, BENCH_REDIS_URL, BENCH_PROVIDER_URL.
"""
