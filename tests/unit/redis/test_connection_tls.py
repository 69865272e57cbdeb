"""Checks that a connection over TLS verifies the server's certificate, as the URL says (redis-py reads it)."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import RedisUnavailable
from shared.redis.batch import Batcher
from tests.support.peers.certificates import self_signed, server_context
from tests.support.peers.scripted_redis import scripted_redis


async def test_a_known_certificate_is_taken_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    async with scripted_redis(tls=server_context(certificate)) as redis:
        known = Batcher(f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={certificate}", timeout_s=2)
        assert await known.command("PING") == b"OK"
        await known.close()
        unknown = Batcher(f"rediss://127.0.0.1:{redis.port}/0", timeout_s=2)
        with pytest.raises(RedisUnavailable, match="certificate verify failed"):
            await unknown.command("PING")
        await unknown.close()
