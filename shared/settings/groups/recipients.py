"""Defines how recipients' addresses are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from shared.message.phone_number import is_region
from shared.settings.types import Group, variable


def _region(value: str | None) -> str | None:
    if value is not None and not is_region(value):
        raise ValueError("must be a region of ISO 3166 in capital letters, such as DE")
    return value


class RecipientSettings(Group):
    """Says how to read an address that does not say everything itself."""

    #: the region (ISO 3166) of phone numbers without a country code; None: every number needs one
    phone_region: Annotated[str | None, variable("PHONE_REGION"), AfterValidator(_region)] = None
