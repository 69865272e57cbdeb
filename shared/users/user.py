"""Describes a user: addresses, preferences and locale, read from a record of another system."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from shared.message.channels import CHANNELS, PLANNED_CHANNELS
from shared.message.envelope import MAX_PUSH_TOKENS, Recipient

_CHOICE = TypeAdapter(bool)


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _email(value: Any) -> str | None:
    recipient = _recipient(email=value)
    return recipient.email if recipient else None


def _phone(value: Any) -> str | None:
    recipient = _recipient(phone=value)
    return recipient.phone if recipient else None


def _push_tokens(value: Any) -> tuple[str, ...]:
    tokens = dict.fromkeys(v for v in value if isinstance(v, str)) if isinstance(value, (list, tuple)) else ()
    return tuple(token for token in tokens if _recipient(push_tokens=[token]))[:MAX_PUSH_TOKENS]


def _recipient(**address: Any) -> Recipient | None:
    """Returns the address if it follows the envelope's rules, else None.

    A bad address is a fault of the user's record, not of the directory: counted as a failure of the directory, five
    lookups of one bad record would stop the channel.
    """
    try:
        return Recipient(**address)
    except ValidationError:
        return None


def _preferences(value: Any) -> Any:
    if value is None:
        return {}
    known = CHANNELS.keys() | PLANNED_CHANNELS
    # A preference of another shape, such as one per kind of message, is ignored: it must not hide the others.
    return {k: v for k, v in value.items() if k in known and _is_choice(v)} if isinstance(value, dict) else value


def _is_choice(value: Any) -> bool:
    """Tells whether pydantic reads the value as a bool."""
    try:
        _CHOICE.validate_python(value)
    except ValidationError:
        return False
    return True


class User(BaseModel):
    """Holds a user's record. Unknown fields are ignored, and an address that cannot be used reads as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, BeforeValidator(_id)]
    email: Annotated[str | None, BeforeValidator(_email)] = None
    phone: Annotated[str | None, BeforeValidator(_phone)] = None
    #: Each token once, at most 100 tokens.
    push_tokens: Annotated[tuple[str, ...], BeforeValidator(_push_tokens)] = ()
    #: Channel -> whether the user wants it; a channel that is not named is wanted.
    preferences: Annotated[dict[str, bool], BeforeValidator(_preferences)] = {}
    locale: str | None = None

    def wants(self, channel: str) -> bool:
        """Returns whether the user has not opted out of ``channel``."""
        return self.preferences.get(channel, True)
