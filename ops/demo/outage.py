"""Shows a mail server that is down: its breaker opens, the second server takes over, and the first one recovers."""

import time
from collections.abc import Mapping

from ops.demo.services import Delivery
from ops.demo.stage import Stage

_PRIMARY, _SECOND = "smtp", "smtp2"
#: How many mails are sent during the time for which a breaker stays open. One of them is the next probe.
_MAILS_WHILE_OPEN = 20

#: request_id -> Unix time at which the gateway got the request
Sent = Mapping[str, float]


def primary_down(stage: Stage) -> None:
    """Shows breaker, failover and recovery while the primary mail server is down."""
    settings = stage.settings
    patience_s = stage.retries_s("email", 3)
    if not _is_closed(stage):
        stage.say(
            "health", f"{_PRIMARY} {stage.breaker('email', _PRIMARY)}, from an earlier outage; it has to recover first"
        )
        _recover(stage)
    with stage.sandbox.fault(_PRIMARY, mode="down"):
        # Each worker process has a breaker of its own.
        first = _send(stage, "down", settings.breaker.failures * max(1, settings.channels["email"].processes))
        stage.say("sent", f"{len(first)} mails, while {_PRIMARY} refuses every client; 202 each")
        stage.until(lambda: not _is_closed(stage), f"the breaker of {_PRIMARY} did not open", patience_s)
        stage.say(
            "health", f"{_PRIMARY} {stage.breaker('email', _PRIMARY)}, {_SECOND} {stage.breaker('email', _SECOND)}"
        )
        next_one = _send(stage, "open", 1)
        stage.say("sent", "one more mail")
        for sent in (next_one, first):
            _show(stage, sent, _all_by_second(stage, sent, patience_s))
    _recover(stage)


def _recover(stage: Stage) -> None:
    """Sends mails until the breaker has closed: they are its probes. Then a mail must use the primary server again."""
    began_s = time.time()
    deadline_s = began_s + stage.reopening_s()
    sent: dict[str, float] = {}
    while not _is_closed(stage):
        stage.check(time.time() < deadline_s, f"the breaker of {_PRIMARY} did not close")
        sent |= _send(stage, f"probe{len(sent)}", 1)
        time.sleep(stage.settings.breaker.open_s / _MAILS_WHILE_OPEN)
    stage.say("health", f"{_PRIMARY} closed, {time.time() - began_s:.1f} s and {len(sent)} mails later")
    last = _send(stage, "healed", 1)
    found = stage.delivered(next(iter(last)))
    stage.check(found[0].provider == _PRIMARY, f"the next mail was delivered by {found[0].provider}")
    _show(stage, last, found)


def _send(stage: Stage, what: str, count: int) -> dict[str, float]:
    sent = {}
    for number in range(count):
        envelope = stage.envelope(
            f"{what}-{number}",
            notification_type="email",
            recipient={"email": f"demo-{stage.run}@example.com"},
            content={"title": "Your invoice", "body": "It is attached to your account."},
        )
        sent[envelope["request_id"]] = stage.send(envelope)
    return sent


def _all_by_second(stage: Stage, sent: Sent, within_s: float) -> list[Delivery]:
    """Returns the deliveries. Raises StepFailed if a mail was not delivered, or by another server, or twice."""
    found = [delivery for request_id in sent for delivery in stage.delivered(request_id, within_s)]
    providers = {delivery.provider for delivery in found}
    stage.check(providers == {_SECOND}, f"they were delivered by {', '.join(sorted(providers))}")
    stage.check(len(found) == len(sent), f"{len(sent)} mails were delivered {len(found)} times")
    return found


def _show(stage: Stage, sent: Sent, found: list[Delivery]) -> None:
    after_s = [max(0.0, delivery.at_s - sent_s) for delivery, sent_s in zip(found, sent.values(), strict=True)]
    times = f"{after_s[0]:.2f} s" if len(after_s) == 1 else f"{min(after_s):.2f} to {max(after_s):.2f} s"
    mails = "1 mail" if len(found) == 1 else f"{len(found)} mails"
    stage.say("received", f"{found[0].provider}, {mails}, after {times}: {found[0].gist}")


def _is_closed(stage: Stage) -> bool:
    return stage.breaker("email", _PRIMARY) == "closed"
