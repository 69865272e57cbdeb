"""Shows delivered messages, suppressed copies, retries, dead letters and replays."""

import random
import time
from typing import Any

from ops.demo.copies import Copies
from ops.demo.devices import Devices
from ops.demo.inboxes import each_once
from ops.demo.stage import Stage

_CHANNEL_OF = {
    "fcm": "push",
    "smtp": "email",
    "smtp2": "email",
    "sendgrid": "email",
    "twilio": "sms",
    "vonage": "sms",
}


def three_channels(stage: Stage) -> None:
    """Delivers one push, one email and one SMS."""
    user_id = f"user-{random.randint(1, 9_999_999)}"
    channels = ["push", "email", "sms"]
    envelope = stage.envelope(
        "all",
        channels=channels,
        user_id=user_id,
        template_code="PRODUCT_UPDATE",
        variables={"name": "Ada", "link": "https://example.com"},
    )
    sent_s = stage.send(envelope, deliveries=len(channels))
    stage.say("sent", f"{envelope['request_id']}: push, email and sms for {user_id}, template PRODUCT_UPDATE; 202")
    found = stage.delivered(envelope["request_id"])
    for delivery in sorted(found, key=lambda delivery: channels.index(_CHANNEL_OF[delivery.provider])):
        stage.received(delivery, sent_s)
    reached = sorted(_CHANNEL_OF[delivery.provider] for delivery in found)
    stage.check(reached == sorted(channels), f"{', '.join(reached)} were reached")


def same_again(stage: Stage, copies: Copies) -> None:
    """Sends the same request again, and shows that it is suppressed."""
    envelope = _push(stage, "same", f"token-{stage.run}")
    sent_s = stage.send(envelope)
    stage.say("sent", f"{envelope['request_id']}: a push; 202")
    stage.received(stage.delivered(envelope["request_id"])[0], sent_s)

    again = stage.gateway.accept(envelope)
    stage.check(again.status_code == 202, f"the gateway answered {again.status_code}: {again.text[:500]}")
    stage.check(again.headers.get("Idempotent-Replayed") == "true", "the gateway treated it as a new request")
    stage.say("sent", "the same request; 202 with Idempotent-Replayed: true")

    before = copies.suppressed("push")
    queue = copies.publish(envelope, "push")
    stage.say("sent", f"a copy, directly to {queue}")
    stage.until(lambda: copies.suppressed("push") > before, "no worker suppressed the copy")
    count = len(stage.sandbox.deliveries(envelope["request_id"]))
    stage.check(count == 1, f"it was delivered {count} times")
    stage.say("received", "nothing more: the worker suppressed the copy")


def fails_twice(stage: Stage) -> None:
    """Shows the retries for a provider that fails twice and then delivers."""
    # The numbering plan reserves these numbers for fiction.
    phone = f"+1202555{random.randint(100, 199):04d}"
    envelope = stage.envelope(
        "retry", notification_type="sms", recipient={"phone": phone}, content={"body": "Your order is on its way."}
    )
    with stage.sandbox.fault("twilio", mode="status", status=503, count=2, target=phone):
        sent_s = stage.send(envelope)
        stage.say("sent", f"{envelope['request_id']}: an SMS for {phone}; 202")
        (delivery,) = stage.delivered(envelope["request_id"], stage.retries_s("sms", 2))
        # The sandbox removes the fault after it has been applied twice.
        stage.check("twilio" not in stage.sandbox.faults(), "it was delivered before twilio had failed twice")
    stage.say("failed", "twilio answered 503, twice")
    stage.received(delivery, sent_s)


def dead_token(stage: Stage) -> None:
    """Shows that a message for a dead token goes to failed.queue at once."""
    envelope = _push(stage, "dead", f"dead-token-{stage.run}")
    with stage.nothing_left(envelope["request_id"]):
        stage.send(envelope, deliveries=0)
        stage.say("sent", f"{envelope['request_id']}: a push to a token that is no longer registered; 202")
        entry = stage.dead_lettered(envelope["request_id"], "recipient_invalid")
        stage.check(entry["attempts"] == 1, f"it took {entry['attempts']} attempts")
    stage.say("cleared", f"{entry['id']} discarded from failed.queue")


def replayed(stage: Stage) -> None:
    """Replays a message from failed.queue after its fault has been removed, and shows that it is delivered."""
    token = f"token-{stage.run}-replay"
    envelope = _push(stage, "replay", token)
    request_id = envelope["request_id"]
    with stage.nothing_left(request_id):
        with stage.sandbox.fault("fcm", mode="status", error_code="INVALID_ARGUMENT", target=token):
            stage.send(envelope)
            stage.say("sent", f"{request_id}: a push, which fcm wrongly rejects as permanent; 202")
            stage.dead_lettered(request_id, "payload_rejected")
        replayed_s = time.time()
        done = stage.gateway.replay(request_id)
        stage.check(done["done"] == 1, f"replay answered {done}")
        stage.say("sent", f"POST /failed/replay of {request_id}, after the fault of fcm was removed")
        stage.received(stage.delivered(request_id)[0], replayed_s)
        stage.check(not stage.gateway.failed(request_id), f"{request_id} is still in failed.queue")


def none_twice(stage: Stage, devices: Devices) -> None:
    """Checks all requests of the demo again: nothing is lost, and nothing was delivered twice."""
    stage.until(lambda: all(found >= stage.expected[name] for name, found in _counts(stage).items()), "one is missing")
    counts = _counts(stage)
    wrong = [f"{name} {found} times" for name, found in counts.items() if found != stage.expected[name]]
    stage.check(not wrong, f"delivered: {', '.join(wrong)}")
    inbox = each_once(stage, devices)
    of = f"{len(counts)} requests (one for three channels, one for a dead token, {inbox})"
    total = sum(counts.values()) + len(devices.sent)
    stage.say("received", f"{total} messages of {of}: none missing, none delivered twice")


def _counts(stage: Stage) -> dict[str, int]:
    return {request_id: len(stage.sandbox.deliveries(request_id)) for request_id in stage.expected}


def _push(stage: Stage, what: str, token: str) -> dict[str, Any]:
    content = {"title": "Your order", "body": "It is on its way."}
    return stage.envelope(what, notification_type="push", recipient={"push_tokens": [token]}, content=content)
