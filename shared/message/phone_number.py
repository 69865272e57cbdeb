"""Reads phone numbers: the one place that decides what a number is and how it is written (E.164).

The rules of each country come from Google's libphonenumber (the package ``phonenumbers``). Its lengths are as old as
the installed package, so a number with a country code that looks too long is left to the vendor to judge, up to the 15
digits of E.164, and so is one that seems to lack its area code.
"""

from __future__ import annotations

import re

from shared.message.text import address as without_invisible

# At most 15 digits with the country code (ITU-T E.164, 6.2.1), and at least 7, such as +683 1234.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")

NOT_A_NUMBER = "must be one phone number"
NO_COUNTRY = "must be a phone number with + and a country code that exists, such as +447700900123"

# What people write between the digits. Letters are refused: libphonenumber would turn them into digits, or skip them.
_WRITTEN = re.compile(r"[+＋]?[\d\s().\-‐-―−/]+")


def e164(text: str, region: str | None = None) -> str:
    """Returns the number as ``+`` and digits; ``region`` (ISO 3166) is that of a number without a country code.

    Raises ValueError, whose text does not quote the number.
    """
    # It is imported here, because only the gateway and the SMS workers need it (15 ms, 3 MB).
    import phonenumbers
    from phonenumbers import CountryCodeSource, NumberParseException, ValidationResult

    text = without_invisible(text).strip()
    if not _WRITTEN.fullmatch(text):
        raise ValueError(NOT_A_NUMBER)
    try:
        number = phonenumbers.parse(text, region, keep_raw_input=True)
    except NumberParseException as exc:
        unknown_country = exc.error_type == NumberParseException.INVALID_COUNTRY_CODE
        raise ValueError(NO_COUNTRY if unknown_country else NOT_A_NUMBER) from exc
    accepted = {ValidationResult.IS_POSSIBLE}
    if number.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN:
        accepted |= {ValidationResult.IS_POSSIBLE_LOCAL_ONLY, ValidationResult.TOO_LONG}
    written = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    if phonenumbers.is_possible_number_with_reason(number) not in accepted or not _E164.fullmatch(written):
        raise ValueError(NOT_A_NUMBER)
    # A number that reads differently once it is written (+11...: a prefix within the number) would reach someone else.
    if phonenumbers.parse(written) != phonenumbers.parse(text, region):
        raise ValueError(NOT_A_NUMBER)
    return written


def is_region(code: str) -> bool:
    """Tells whether ``code`` is a region (ISO 3166, two capital letters) whose numbers are known."""
    import phonenumbers

    return code in phonenumbers.SUPPORTED_REGIONS
