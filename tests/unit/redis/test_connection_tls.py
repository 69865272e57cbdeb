"""Checks that a connection over TLS verifies the server's certificate, as the URL says (redis-py reads it)."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import RedisUnavailable
from shared.redis.batch import Batcher
from tests.support.peers.scripted_redis import scripted_redis


def self_signed(directory: Path) -> Path:
    """Writes a certificate for this machine and its key into one file, and returns the file's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "redis.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


async def test_a_known_certificate_is_taken_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with scripted_redis(tls=context) as redis:
        known = Batcher(f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={certificate}", timeout_s=2)
        assert await known.command("PING") == b"OK"
        await known.close()
        unknown = Batcher(f"rediss://127.0.0.1:{redis.port}/0", timeout_s=2)
        with pytest.raises(RedisUnavailable, match="certificate verify failed"):
            await unknown.command("PING")
        await unknown.close()
