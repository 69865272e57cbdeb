"""Generates valid envelopes, as callers may write them, and holds a small one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from shared.message.channels import CHANNELS

PUSH: dict[str, Any] = {
    "request_id": "r-1",
    "notification_type": "push",
    "user_id": "u-1",
    "content": {"title": "t", "body": "b"},
}

# A single line contains no control characters, and no characters that UTF-8 cannot encode.
_LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)
_TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=80)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    _SCALARS | _TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3)
)
_OBJECTS = st.dictionaries(_TEXTS, VALUES, max_size=3)
_CONTENT = st.fixed_dictionaries(
    {"body": _TEXTS}, optional={"title": _LINES, "subject": _LINES, "html": _TEXTS, "data": _OBJECTS, "link": _LINES}
)
_RECIPIENTS = st.fixed_dictionaries(
    {},
    optional={
        "push_tokens": st.lists(_LINES, max_size=3),
        "email": st.sampled_from(["a@example.org", "b.c+d@sub.example.org"]),
        "phone": st.from_regex(r"\A\+[0-9]{4,15}\Z"),
    },
)
ENVELOPES = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries(
        {"request_id": st.from_regex(r"\A[A-Za-z0-9_.:-]{1,128}\Z")},
        optional={
            "variables": _OBJECTS,
            "metadata": _OBJECTS,
            "priority": st.sampled_from(["high", "medium", "low", *range(11)]),
            "type": st.sampled_from(["info", "success", "warning", "error"]),
            "expires_at": st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
                datetime.isoformat
            ),
        },
    ),
    st.fixed_dictionaries({"content": _CONTENT}) | st.fixed_dictionaries({"template_code": _LINES}),
    st.fixed_dictionaries({"user_id": _LINES | st.integers(-(2**63), 2**63 - 1)})
    | st.fixed_dictionaries({"recipient": _RECIPIENTS}),
    st.fixed_dictionaries({"notification_type": st.sampled_from(list(CHANNELS))})
    | st.fixed_dictionaries({"channels": st.lists(st.sampled_from(list(CHANNELS)), min_size=1, max_size=4)}),
)
