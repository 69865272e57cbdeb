"""Tests which texts are phone numbers, and how they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.message.phone_number import e164


@pytest.mark.parametrize(
    ("text", "region", "written"),
    [
        ("\u202a+44 7700 900123\u202c", None, "+447700900123"),
        ("+44 (0)7700 900123", None, "+447700900123"),
        ("＋４４ ７７００ ９００１２３", None, "+447700900123"),
        ("\ufeff+44\u00a07700\u2011900123 ", None, "+447700900123"),
        ("07700 900123", "GB", "+447700900123"),
        ("00 49 151 12345678", "GB", "+4915112345678"),
        ("0151/12345678", "DE", "+4915112345678"),
        ("+49 30/123456", None, "+4930123456"),
        ("+15550100", None, "+15550100"),
        ("+1555123456789", None, "+1555123456789"),
    ],
)
def test_a_number_is_written_in_e164(text: str, region: str | None, written: str) -> None:
    assert e164(text, region) == written


@pytest.mark.parametrize("region", [None, "GB"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "+", "+1", "+123", "+44 12", "+999123456789", "+447700900123, +447700900124", "+4477+00900123"),
        *("+1-800-FLOWERS", "call +447700900123", "+44 7700 900123 ext. 5", "+4477009001231234567", "12", "\x9b+4477"),
        *("+44\r\n7700900123", "+1 110121152719"),
    ],
)
def test_what_is_no_number_is_refused(text: str, region: str | None) -> None:
    with pytest.raises(ValueError, match="must"):
        e164(text, region)


@pytest.mark.parametrize("text", ["07700 900123", "447700900123", "00447700900123"])
def test_without_a_region_a_number_needs_its_country_code(text: str) -> None:
    with pytest.raises(ValueError, match="country code"):
        e164(text)


@given(st.text() | st.text("+0123456789 ()-٣", max_size=20), st.none() | st.sampled_from(["GB", "US", "DE"]))
def test_whatever_is_accepted_is_plus_and_digits_and_stays_the_same(text: str, region: str | None) -> None:
    try:
        written = e164(text, region)
    except ValueError:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", written)
    assert e164(written) == written
