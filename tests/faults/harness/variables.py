"""Builds the environment of the processes under test: real servers, stand-in providers, scaled
times, and nothing else.
"""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

from ops.place import ROOT
from tests.faults.harness.providers import ProviderSide
from tests.faults.harness.scale import PROVIDER_TIMEOUT_S, scaled_variables
from tests.support.run.moved_clock import clock_variables

#: the variables that a process inherits from the process that runs the harness
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


def product_variables(amqp_url: str, redis_url: str, providers: ProviderSide, **more: str) -> dict[str, str]:
    """Returns the environment of gateways and workers; ``more`` overrides the rest."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **clock_variables(),
        "PYTHONPATH": str(ROOT),
        "RABBITMQ_URL": amqp_url,
        "REDIS_URL": redis_url,
        "USER_ENDPOINT": f"http://127.0.0.1:{providers.port}/users",
        "TEMPLATE_ENDPOINT": f"http://127.0.0.1:{providers.port}/templates",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
        "HEARTBEAT_S": "0.5",
        **provider_variables(providers.port, providers.smtp_port),
        **scaled_variables(),
        **more,
    }


def provider_variables(port: int, smtp_port: int, timeout_s: float = PROVIDER_TIMEOUT_S) -> dict[str, str]:
    """Returns the settings of every channel's providers, in order; the sandbox plays all of them but the inbox."""
    http, smtp = f"127.0.0.1:{port}", f"127.0.0.1:{smtp_port}"
    callback = quote(f"http://{http}/sandbox/callback", safe="")
    urls = {
        "PUSH": (f"fcm://{http}/faults?tls=0",),
        "EMAIL": (
            f"smtp://smtp:sandbox@{smtp}?from=notify@example.org&starttls=0",
            f"sendgrid://sandbox@{http}?from=notify@example.org&tls=0",
        ),
        "SMS": (
            f"twilio://sandbox:sandbox@{http}?from=+15005550006&callback={callback}&tls=0",
            f"vonage://sandbox:sandbox@{http}?from=Notify&tls=0",
        ),
    }
    return {
        f"{channel}_PROVIDERS": ",".join(f"{url}&timeout={timeout_s:g}" for url in of) for channel, of in urls.items()
    } | {"WEBSOCKET_PROVIDERS": f"inbox://?timeout={timeout_s:g}"}


def through(url: str, port: int) -> str:
    """Returns the URL of the same server, reached through a proxy on this machine."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()
