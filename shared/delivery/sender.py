"""One send to one target: the provider's answer, or our error, as a value; the breaker told in the same place."""

from __future__ import annotations

import asyncio
import time

import structlog

from shared.delivery.retry_policy import Failure
from shared.errors import Impossible, Misconfigured, Throttled, Unavailable
from shared.message.outcome import Dead, Hold, Sent
from shared.metrics import Metrics
from shared.providers.failover import Providers
from shared.providers.provider import Message

log = structlog.get_logger(__name__)

#: what a provider may take beyond its own timeout to give up, seconds
GRACE_S = 1.0

Answer = Sent | Dead | Hold | Failure


class Sender:
    """Sends through the first provider whose breaker gives a permit."""

    def __init__(self, channel: str, providers: Providers, metrics: Metrics) -> None:
        self._channel = channel
        self._providers = providers
        self._metrics = metrics

    @property
    def timeout_s(self) -> float:
        """Longest that one send takes, seconds."""
        return self._providers.timeout_s + GRACE_S

    async def send(self, message: Message) -> Answer:
        """Exactly one call to one provider, or Hold if none may be called now. Raises nothing but cancellation."""
        chosen = self._providers.choose()
        if chosen is None:
            return Hold("provider")
        provider, permit = chosen
        name = provider.name
        began = time.monotonic()
        try:
            provider_id = await provider.send(message)
        except Impossible as exc:
            permit.success(time.monotonic() - began)
            return Dead(exc.reason, str(exc), name, counted=True)
        except Throttled as exc:
            self._providers.throttled(permit, exc, message.target)
            return Failure("throttled", str(exc), True, name, exc.retry_after_s)
        except Unavailable as exc:
            if exc.blames_provider:
                permit.failure(time.monotonic() - began)
            else:
                permit.neither()
            if exc.ambiguous:
                self._ambiguous(name)
            return Failure("provider_unavailable", str(exc), True, name, exc.retry_after_s)
        except Misconfigured as exc:
            permit.misconfigured()
            log.error("credentials_refused", channel=self._channel, provider=name, error=str(exc))
            return Failure("misconfigured", str(exc), False, name)
        except asyncio.CancelledError:
            permit.neither()
            # A stop that would not wait: the provider may have it all the same.
            self._ambiguous(name)
            log.warning("send_cut_short", channel=self._channel, provider=name)
            raise
        except Exception as exc:
            permit.failure(time.monotonic() - began)
            log.exception("send_failed_unexpectedly", channel=self._channel, provider=name)
            self._ambiguous(name)
            return Failure("unexpected", repr(exc), True, name)
        permit.success(time.monotonic() - began)
        return Sent(name, provider_id)

    def _ambiguous(self, provider: str) -> None:
        self._metrics.ambiguous.labels(self._channel, provider).inc()
