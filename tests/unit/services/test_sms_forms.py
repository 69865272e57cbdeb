"""Tests what the SMS providers ask their vendors for: the number, and how long the message may wait."""

import dataclasses
from urllib.parse import parse_qs

import pytest

from services.sms import twilio, vonage
from shared.providers.urls import Builder
from tests.support.messages import RECIPIENT, built, message, refusing

TWILIO: tuple[Builder, str] = (twilio.build, "twilio://AC1:token@?from=+15005550006")
VONAGE: tuple[Builder, str] = (vonage.build, "vonage://key:secret@?from=Notify")


def form(
    provider: tuple[Builder, str], target: str = "+447700900123", life_s: int | None = None, **settings: str
) -> dict[str, str]:
    made = built(provider[0], provider[1], **settings)
    fields = parse_qs(made.prepare(dataclasses.replace(message(target), life_s=life_s)).decode(), strict_parsing=True)
    return {name: value for name, (value,) in fields.items()}


@pytest.mark.parametrize("target", ["\u202a+44 7700 900123\u202c", "+44 (0)7700 900123", "\ufeff+447700900123"])
def test_a_number_is_sent_in_the_vendors_form(target: str) -> None:
    assert form(TWILIO, target)["To"] == "+447700900123"
    assert form(VONAGE, target)["to"] == "447700900123"


def test_a_number_without_country_code_is_of_the_set_region() -> None:
    assert form(TWILIO, "07700 900123", phone_region="GB")["To"] == "+447700900123"
    assert form(VONAGE, "07700 900123", phone_region="GB")["to"] == "447700900123"


@pytest.mark.parametrize("provider", [TWILIO, VONAGE])
@pytest.mark.parametrize("target", ["abc", "07700 900123", "+44 7700 900123 x5", "dead1"])
def test_a_target_that_is_no_number_is_refused_without_a_call_and_not_quoted(
    provider: tuple[Builder, str], target: str
) -> None:
    with refusing(RECIPIENT) as caught:
        form(provider, target)
    assert target not in str(caught.value)


@pytest.mark.parametrize(
    ("life_s", "validity", "ttl"),
    [(1, "1", "20000"), (300, "300", "300000"), (36_001, "36000", "36001000"), (10**7, "36000", "604800000")],
)
def test_the_messages_life_is_told_to_the_vendor_within_its_bounds(life_s: int, validity: str, ttl: str) -> None:
    assert form(TWILIO, life_s=life_s)["ValidityPeriod"] == validity
    assert form(VONAGE, life_s=life_s)["ttl"] == ttl
    assert "ValidityPeriod" not in form(TWILIO) and "ttl" not in form(VONAGE)
