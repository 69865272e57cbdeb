"""Orders faults of the sandbox, and connects the product's providers to it as their vendor."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp

from sandbox.server import Sandbox
from services.email import sendgrid, smtp
from services.push import fcm
from services.sms import twilio, vonage
from shared.providers.provider import Provider
from shared.providers.urls import Builder
from tests.support.messages import built
from tests.support.opened import opened


def provider_at(sandbox: Sandbox, name: str, timeout_s: float = 5) -> AbstractAsyncContextManager[Provider[Any]]:
    """Opens the product's own provider of this name with the sandbox as its vendor."""
    http, mail = f"{sandbox.host}:{sandbox.port}", f"{sandbox.host}:{sandbox.smtp_port}"
    urls: dict[str, tuple[Builder, str]] = {
        "fcm": (fcm.build, f"fcm://{http}/demo?tls=0"),
        "smtp": (smtp.build, f"smtp://smtp:any@{mail}?from=us@example.com&starttls=0"),
        "sendgrid": (sendgrid.build, f"sendgrid://key@{http}?from=us@example.com&tls=0"),
        "twilio": (twilio.build, f"twilio://AC1:any@{http}?from=%2B15550000000&tls=0&callback=http://cb"),
        "vonage": (vonage.build, f"vonage://key:any@{http}?from=us&tls=0"),
    }
    builder, url = urls[name]
    made: Provider[Any] = built(builder, f"{url}&timeout={timeout_s}")
    return opened(made)


async def order(sandbox: Sandbox, name: str, **fault: object) -> None:
    """Orders a fault of a provider or a look-up over HTTP. Raises AssertionError unless the sandbox takes it."""
    url = f"{sandbox.url}/sandbox/faults/{name}"
    async with aiohttp.ClientSession() as http, http.put(url, json=fault) as response:
        assert response.status == 200, await response.text()
