"""Makes one delivery with requests and redis-py, for the peers that work in threads or processes."""

import threading
from typing import Any

import redis
import requests

from bench.peers import work

_store = redis.Redis.from_url(work.REDIS_URL)
_local = threading.local()


def deliver(envelope: dict[str, Any]) -> None:
    """Claims, sends and marks as done; drops a duplicate. Raises on any failure, and the framework retries."""
    key = work.key(envelope)
    if not _store.set(key, "sending", nx=True, ex=work.RECORD_TTL_S):
        return
    answer = _session().post(work.SEND_URL, json=work.message(envelope), headers=work.HEADERS, timeout=work.TIMEOUT_S)
    answer.raise_for_status()
    _store.set(key, "done", ex=work.RECORD_TTL_S)


def _session() -> requests.Session:
    # A Session is not safe to share between threads.
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    session: requests.Session = _local.session
    return session
