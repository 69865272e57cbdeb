"""Gives a step of the demo what it can do and see. A result that does not appear in time raises StepFailed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from rich.text import Text

from ops.demo.services import Delivery, Gateway, Sandbox
from ops.errors import OpsError
from ops.signals import undisturbed
from ops.terminal import Terminal
from shared.backoff import level_for
from shared.settings.settings import Settings

T = TypeVar("T")

_POLL_S = 0.05
# The limit for results that usually appear at once, on a machine that may be busy.
_PROMPT_S = 15.0
_LABEL_WIDTH = 10
_GIST_LENGTH = 60


class StepFailed(OpsError):
    """Says what should have happened and did not."""


@dataclass
class Stage:
    """Sends, waits and checks for the steps.

    ``expected`` maps the request_id of everything that the demo has sent to the number of deliveries it must lead to.
    """

    gateway: Gateway
    sandbox: Sandbox
    settings: Settings
    console: Terminal
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    expected: dict[str, int] = field(default_factory=dict)

    def say(self, label: str, text: str, style: str = "") -> None:
        self.console.print(Text.assemble((f"   {label:<{_LABEL_WIDTH}}", "dim"), (text, style)))

    def envelope(self, what: str, **fields: Any) -> dict[str, Any]:
        """Returns an envelope with these fields and a request_id that no other run has used."""
        return {"request_id": f"demo-{self.run}-{what}", **fields}

    def send(self, envelope: Mapping[str, Any], deliveries: int = 1) -> float:
        """Sends the envelope to the gateway, and returns the Unix time of that.

        ``deliveries`` is how many deliveries it must lead to. Raises StepFailed if the answer is not 202.
        """
        self.expected[envelope["request_id"]] = deliveries
        at_s = time.time()
        answer = self.gateway.accept(envelope)
        self.check(answer.status_code == 202, f"the gateway answered {answer.status_code}: {answer.text[:500]}")
        return at_s

    def delivered(self, request_id: str, within_s: float = _PROMPT_S) -> list[Delivery]:
        """Returns all deliveries of the request as soon as there are as many as expected. Raises StepFailed."""
        count = self.expected[request_id]

        def enough() -> list[Delivery] | None:
            found = self.sandbox.deliveries(request_id)
            return found if len(found) >= count else None

        return self.until(enough, f"{request_id} was not delivered", within_s)

    def received(self, delivery: Delivery, sent_s: float) -> None:
        """Shows what a provider got, and how many seconds after the gateway got it."""
        gist = delivery.gist if len(delivery.gist) <= _GIST_LENGTH else f"{delivery.gist[:_GIST_LENGTH]}..."
        after_s = max(0.0, delivery.at_s - sent_s)
        self.say("received", f"{delivery.provider}, for {delivery.target}, after {after_s:.2f} s: {gist}")

    def dead_lettered(self, request_id: str, reason: str) -> dict[str, Any]:
        """Waits for the request in failed.queue, and returns its entry there. Raises StepFailed for another reason."""
        (entry,) = self.until(lambda: self.gateway.failed(request_id), f"{request_id} is not in failed.queue")
        self.check(entry["reason"] == reason, f"the reason is {entry['reason']}, not {reason}")
        self.say("failed", f"{entry['reason']} after {entry['attempts']} attempt ({entry['error']})")
        return entry

    @contextmanager
    def nothing_left(self, request_id: str) -> Iterator[None]:
        """Discards the messages of this request from failed.queue after the block, also if it ends with an error."""
        try:
            yield
        finally:
            with undisturbed():
                self.gateway.discard(request_id)

    def breaker(self, channel: str, provider: str) -> str:
        """Returns the breaker's worst state in any worker, as /health reports it."""
        state: str = self.gateway.channels()[channel]["providers"].get(provider, "unknown")
        return state

    def until(self, look: Callable[[], T | None], missing: str, within_s: float = _PROMPT_S) -> T:
        """Calls ``look`` until it returns a true value, and returns that. Raises StepFailed after ``within_s``."""
        deadline = time.monotonic() + within_s
        while not (value := look()):
            if time.monotonic() > deadline:
                raise StepFailed(f"{missing} within {within_s:.0f} s")
            time.sleep(_POLL_S)
        return value

    def check(self, holds: bool, otherwise: str) -> None:
        """Raises StepFailed unless ``holds``."""
        if not holds:
            raise StepFailed(otherwise)

    def retries_s(self, channel: str, retries: int) -> float:
        """Returns the longest time, in seconds, until a message that fails ``retries`` times in a row is sent again."""
        settings = self.settings
        retry = settings.channels[channel].retry
        waits_s = [max(retry.min_s, min(retry.cap_s, retry.base_s * 2**n)) for n in range(retries)]
        return _PROMPT_S + sum(level_for(wait_s, settings.broker.retry_levels_s) for wait_s in waits_s)

    def reopening_s(self) -> float:
        """Returns the longest time, in seconds, until an open breaker has let its probes through.

        One probe may have failed and doubled the time for which the breaker stays open.
        """
        return _PROMPT_S + 3 * 1.2 * self.settings.breaker.open_s
