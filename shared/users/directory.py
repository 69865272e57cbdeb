"""Who a user is: addresses and wishes, from the directory service."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shared.lookup.cached import Source
from shared.message.channels import CHANNELS, PLANNED_CHANNELS
from shared.message.envelope import MAX_PUSH_TOKENS, Recipient
from shared.metrics import Metrics
from shared.settings.settings import Settings


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
    """The address by the envelope's rules, None if it breaks them.

    One user's odd record is that user's: were it the service's failure, five lookups of it would stop the channel.
    """
    try:
        return Recipient(**address)
    except ValidationError:
        return None


def _preferences(value: Any) -> Any:
    if value is None:
        return {}
    known = CHANNELS.keys() | PLANNED_CHANNELS
    return {k: v for k, v in value.items() if k in known and v is not None} if isinstance(value, dict) else value


class User(BaseModel):
    """A user as the directory has it; what it adds is ignored, and an unusable address reads as none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, BeforeValidator(_id)]
    email: Annotated[str | None, BeforeValidator(_email)] = None
    phone: Annotated[str | None, BeforeValidator(_phone)] = None
    #: each once, at most 100
    push_tokens: Annotated[tuple[str, ...], BeforeValidator(_push_tokens)] = ()
    #: channel -> wanted; a channel that is not there is wanted
    preferences: Annotated[dict[str, bool], BeforeValidator(_preferences)] = {}
    locale: str | None = None

    def wants(self, channel: str) -> bool:
        """Whether the user has not opted out of ``channel``."""
        return self.preferences.get(channel, True)


class Directory(Source[User]):
    """Users by id."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__("users", User, settings, metrics)

    async def user(self, user_id: str) -> User:
        """Raises SourceNotFound, SourceUnavailable."""
        return await self.get(user_id)
