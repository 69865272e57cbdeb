"""What a step of the demo can do and see. Whatever does not happen in time is StepFailed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from rich.console import Console
from rich.text import Text

from ops.demo.services import Delivery, Gateway, Sandbox
from ops.errors import OpsError
from ops.signals import undisturbed
from shared.backoff import level_for
from shared.settings.settings import Settings

T = TypeVar("T")

_POLL_S = 0.05
# For what happens at once, on a machine that is busy with other things.
_PROMPT_S = 15.0
_LABEL_WIDTH = 10
_GIST_LENGTH = 60


class StepFailed(OpsError):
    """What should have happened and did not."""


@dataclass
class Stage:
    """``expected``: request_id -> deliveries that it must lead to, of all that the demo has sent."""

    gateway: Gateway
    sandbox: Sandbox
    settings: Settings
    console: Console
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    expected: dict[str, int] = field(default_factory=dict)

    def say(self, label: str, text: str, style: str = "") -> None:
        self.console.print(Text.assemble((f"   {label:<{_LABEL_WIDTH}}", "dim"), (text, style)))

    def envelope(self, what: str, **fields: Any) -> dict[str, Any]:
        """With a request_id that no other run has used."""
        return {"request_id": f"demo-{self.run}-{what}", **fields}

    def send(self, envelope: Mapping[str, Any], deliveries: int = 1) -> float:
        """Hand it in; Unix time of that. ``deliveries``: how many it must lead to."""
        self.expected[envelope["request_id"]] = deliveries
        at_s = time.time()
        answer = self.gateway.accept(envelope)
        self.check(answer.status_code == 202, f"the gateway answered {answer.status_code}: {answer.text[:500]}")
        return at_s

    def delivered(self, request_id: str, within_s: float = _PROMPT_S) -> list[Delivery]:
        """All its deliveries, as soon as it has as many as it must."""
        count = self.expected[request_id]

        def enough() -> list[Delivery] | None:
            found = self.sandbox.deliveries(request_id)
            return found if len(found) >= count else None

        return self.until(enough, f"{request_id} was not delivered", within_s)

    def received(self, delivery: Delivery, sent_s: float) -> None:
        """Show what a provider got, and how long after it was handed in."""
        gist = delivery.gist if len(delivery.gist) <= _GIST_LENGTH else f"{delivery.gist[:_GIST_LENGTH]}..."
        after_s = max(0.0, delivery.at_s - sent_s)
        self.say("received", f"{delivery.provider}, for {delivery.target}, after {after_s:.2f} s: {gist}")

    def dead_lettered(self, request_id: str, reason: str) -> dict[str, Any]:
        """Its entry in failed.queue, once it is there; it must be for this reason."""
        (entry,) = self.until(lambda: self.gateway.failed(request_id), f"{request_id} is not in failed.queue")
        self.check(entry["reason"] == reason, f"the reason is {entry['reason']}, not {reason}")
        self.say("failed", f"{entry['reason']} after {entry['attempts']} attempt ({entry['error']})")
        return entry

    @contextmanager
    def nothing_left(self, request_id: str) -> Iterator[None]:
        """Whatever this request has left in failed.queue is gone after the block, however it ends."""
        try:
            yield
        finally:
            with undisturbed():
                self.gateway.discard(request_id)

    def breaker(self, channel: str, provider: str) -> str:
        """Its worst state in any worker, as /health has it."""
        state: str = self.gateway.channels()[channel]["providers"].get(provider, "unknown")
        return state

    def until(self, look: Callable[[], T | None], missing: str, within_s: float = _PROMPT_S) -> T:
        """The first true value. Raises StepFailed."""
        deadline = time.monotonic() + within_s
        while not (value := look()):
            if time.monotonic() > deadline:
                raise StepFailed(f"{missing} within {within_s:.0f} s")
            time.sleep(_POLL_S)
        return value

    def check(self, holds: bool, otherwise: str) -> None:
        """Raises StepFailed."""
        if not holds:
            raise StepFailed(otherwise)

    def retries_s(self, channel: str, retries: int) -> float:
        """Longest until a message that fails so many times in a row has been tried once more."""
        settings = self.settings
        retry = settings.channels[channel].retry
        waits_s = [max(retry.min_s, min(retry.cap_s, retry.base_s * 2**n)) for n in range(retries)]
        return _PROMPT_S + sum(level_for(wait_s, settings.broker.retry_levels_s) for wait_s in waits_s)

    def reopening_s(self) -> float:
        """Longest until an open breaker has let its probes through: one may have failed and doubled its time."""
        return _PROMPT_S + 3 * 1.2 * self.settings.breaker.open_s
