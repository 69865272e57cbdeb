"""Makes messages and settings for tests of providers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.errors import Refusal, Refused
from shared.providers.provider import Content, Message, Provider
from shared.providers.urls import Builder, ProviderUrl, parse_provider_urls
from shared.settings.load import load_settings
from shared.settings.settings import Settings

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


async def send(provider: Provider[Any], to_send: Message) -> str:
    """Prepares one message and sends it, as the worker does."""
    return await provider.send(provider.prepare(to_send))


@contextmanager
def refusing(refusal: Refusal) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """Checks that the block ends in a refusal of this kind."""
    with pytest.raises(Refused) as caught:
        yield caught
    assert caught.value.refusal is refusal


RECIPIENT = Refusal.RECIPIENT_INVALID
PAYLOAD = Refusal.PAYLOAD_REJECTED
THROTTLED = Refusal.THROTTLED
RATE = Refusal.RATE_EXCEEDED
QUOTA = Refusal.QUOTA_EXCEEDED
UNPROVEN = Refusal.REJECTED
NOT_HERE = Refusal.UNSUPPORTED
DOWN = Refusal.UNAVAILABLE
BEYOND = Refusal.RECIPIENT_TEMPORARY
OURS = Refusal.CREDENTIALS
