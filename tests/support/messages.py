"""Messages and settings for tests of providers."""

from collections.abc import Sequence
from typing import Any

from shared.errors import DeliveryError, Impossible, Misconfigured, Throttled, Unavailable
from shared.providers.provider import Content, Message
from shared.providers.urls import Builder, ProviderUrl, parse_provider_urls
from shared.settings.settings import Settings, load_settings

REQUEST_ID = "order:42.confirmed"


def message(
    target: str = "target-1", request_id: str = REQUEST_ID, priority: str = "medium", **content: Any
) -> Message:
    return Message(request_id, target, Content(**{"title": "Hello", "body": "A parcel for you"} | content), priority)


def settings(**fields: Any) -> Settings:
    return load_settings(env_file=None, **fields)


def one_url(text: str, channel: str = "push") -> ProviderUrl:
    return parse_provider_urls([text], [text.partition("://")[0]], channel)[0]


def built(builder: Builder, text: str, **fields: Any) -> Any:
    return builder(one_url(text), settings(**fields))


def verdict(error: DeliveryError) -> Sequence[object]:
    """What the rule book looks at, without the text."""
    match error:
        case Impossible():
            return ("dead", error.reason)
        case Throttled():
            return ("throttled", error.scope)
        case Unavailable():
            return ("unavailable", "blamed" if error.blames_provider else "not blamed")
        case Misconfigured():
            return ("misconfigured",)
    raise AssertionError(f"not one of ours: {error!r}")


RECIPIENT = ("dead", "recipient_invalid")
PAYLOAD = ("dead", "payload_rejected")
THROTTLED = ("throttled", "recipient")
QUOTA = ("throttled", "provider")
DOWN = ("unavailable", "blamed")
BEYOND = ("unavailable", "not blamed")
OURS = ("misconfigured",)
