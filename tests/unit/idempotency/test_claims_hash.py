"""Checks the hash that distinguishes two bodies under the same request_id."""

from __future__ import annotations

import hashlib

from shared.idempotency.claims import body_hash


def test_a_body_is_known_by_the_first_8_bytes_of_its_hash() -> None:
    assert body_hash(b"{}") == hashlib.sha256(b"{}").digest()[:8].hex()
