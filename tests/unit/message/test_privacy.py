"""Tests that people's addresses are not shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message.privacy import mask, mask_addresses


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada@example.com", "a***@example.com"),
        ("+15550142", "***42"),
        ("5550142", "***"),
        ("dGVzdC10b2tlbi1hYmNk", "***Nk"),
        ("@example", "***le"),
        ("", "***"),
    ],
)
def test_masked_addresses_differ_and_reveal_little(address: str, shown: str) -> None:
    assert mask(address) == shown


def test_an_envelope_keeps_everything_but_its_addresses_and_variables() -> None:
    envelope: dict[str, Any] = {
        "request_id": "r1",
        "recipient": {"push_tokens": ["token-of-a-device"], "email": "ada@example.com", "phone": None},
        "content": {"title": "t", "body": "b"},
        "email": "straight@example.com",
        "metadata": {"copies": [{"phone": 15550142}], "Email": "Loud@example.com", "pushTokens": ["token-of-a-device"]},
        "variables": {
            "name": "Ada Lovelace",
            "codes": [123456, "a@b.c"],
            "deep": {"link": "https://e.x/ada"},
            "no": None,
        },
    }
    assert mask_addresses(envelope) == {
        "request_id": "r1",
        "recipient": {"push_tokens": ["***ce"], "email": "a***@example.com", "phone": None},
        "content": {"title": "t", "body": "b"},
        "email": "s***@example.com",
        "metadata": {"copies": [{"phone": "***"}], "Email": "L***@example.com", "pushTokens": ["***ce"]},
        "variables": {"name": "***", "codes": ["***", "***"], "deep": {"link": "***"}, "no": None},
    }


_JSON = st.recursive(
    st.just("secret-address"), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)
)


@given(_JSON)
def test_everything_under_recipient_is_masked(recipient: Any) -> None:
    for name in ("recipient", "RECIPIENT", "Push-Tokens", "eMail", "Variables"):
        assert b"secret-address" not in orjson.dumps(mask_addresses({"metadata": [{name: recipient}]}))
