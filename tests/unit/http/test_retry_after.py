from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.retry_after import parse_retry_after

NOW_S = 1_800_000_000.0


def parsed(value: str | None) -> float | None:
    return parse_retry_after(value, lambda: NOW_S)


@pytest.mark.parametrize(("value", "expected"), [("3", 3.0), (" 120 ", 120.0), ("0", 0.0), ("1.5", 1.5)])
def test_seconds_are_seconds(value: str, expected: float) -> None:
    assert parsed(value) == expected


def test_a_date_is_the_time_until_then() -> None:
    assert parsed(formatdate(NOW_S + 90, usegmt=True)) == 90
    assert parsed(formatdate(NOW_S - 90, usegmt=True)) == 0


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-1", "nan", "inf", "1e9", "0x10", "٣", "12345678901", "Mon, 99 Foo"]
)
def test_rubbish_is_no_time(value: str | None) -> None:
    assert parsed(value) is None


@given(st.text() | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,9} \d+:\d+:\d+ [-+]?\w{1,9}", fullmatch=True))
def test_any_text_is_a_time_from_now_or_none(value: str) -> None:
    seconds = parsed(value)
    assert seconds is None or seconds >= 0
