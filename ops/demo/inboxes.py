"""Shows an inbox and its devices: live arrival, what an offline device gets later, and the limit of connections."""

from __future__ import annotations

import time

from ops.demo.devices import Changed, Device, Devices, Missed
from ops.demo.stage import Stage

#: The user must look at a device that was ended with this code before it connects again.
_EVICTED = 4505


def live_on_two(stage: Stage, devices: Devices) -> None:
    """Delivers a notification to two connected devices of one user."""
    both = [devices["phone"], devices["laptop"]]
    for device in both:
        _connect(stage, device)
    stage.say("connected", f"phone and laptop of {devices.user_id}")
    request_id, sent_s = _send(stage, devices, "shipped", "Order shipped")
    stage.say("sent", f"{request_id}: a notification for the inbox; 202")
    for device in both:
        _arrives(stage, device, request_id, sent_s)


def offline_then_missed(stage: Stage, devices: Devices) -> None:
    """Delivers notifications while one device is offline, and shows what that device gets when it is back."""
    phone, laptop = devices["phone"], devices["laptop"]
    laptop.disconnect()
    stage.say("offline", "laptop")
    missed: list[str] = []
    for what, title in (("delayed", "Order delayed"), ("arrived", "Order arrived")):
        request_id, sent_s = _send(stage, devices, what, title)
        stage.say("sent", f"{request_id}; 202")
        _arrives(stage, phone, request_id, sent_s)
        missed.append(request_id)
    back_s = time.time()
    _connect(stage, laptop)
    at_s, pull = stage.until(lambda: laptop.first(Missed), "laptop was not told what it has missed")
    stage.check(pull.recovered, "laptop had to start anew")
    rows = [row.request_id for row in pull.rows]
    stage.check(rows == missed, f"laptop got {', '.join(rows) or 'nothing'} instead of what it has missed")
    titles = ", ".join(row.title for row in pull.rows)
    stage.say("received", f"laptop, {at_s - back_s:.2f} s after it is back: {titles}; {pull.unread} unread")


def read_on_one(stage: Stage, devices: Devices) -> None:
    """Reads everything on one device, and shows that the other one shows it as read."""
    phone, laptop = devices["phone"], devices["laptop"]
    shown = [phone.arrival(request_id) for request_id in devices.sent]
    ids = [arrival.row.id for arrival in shown if arrival is not None]
    read_s = time.time()
    phone.read(ids)
    stage.say("read", f"on phone, {len(ids)} notifications")
    at_s, change = stage.until(lambda: laptop.first(Changed), "laptop was not told that they were read")
    stage.check(change.unread == 0, f"laptop still shows {change.unread} unread")
    stage.say("received", f"laptop, after {max(0.0, at_s - read_s):.2f} s: {change.unread} unread")


def one_too_many(stage: Stage, devices: Devices) -> None:
    """Connects one device more than a user may have, and shows that the oldest connection ends."""
    most = stage.settings.sockets.per_user
    oldest = devices["phone"]
    # The laptop was offline meanwhile, so its connection is younger than that of the phone.
    for number in range(3, most + 2):
        _connect(stage, devices[f"device {number}"])
    stage.say("connected", f"{most + 1} devices; {most} are allowed at a time (SOCKETS_PER_USER)")
    closed = stage.until(lambda: oldest.closed, "no device was ended")
    stage.check(closed == _EVICTED, f"phone was ended with {closed}")
    stage.check(len(devices.live) == most, f"{len(devices.live)} devices are connected")
    stage.say("ended", f"phone, the oldest, with {closed}: it stays away until its user looks at it")


def each_once(stage: Stage, devices: Devices) -> str:
    """Checks that the inbox holds each notification once. Returns how many these are, in words."""
    found = sorted(item["request_id"] for item in stage.gateway.inbox(devices.user_id))
    stage.check(found == sorted(devices.sent), f"the inbox holds {', '.join(found) or 'nothing'}")
    return f"{len(found)} for an inbox"


def _connect(stage: Stage, device: Device) -> None:
    device.connect()

    def live_or_refused() -> bool:
        stage.check(device.closed is None, f"{device.name} was refused with {device.closed}")
        return device.is_live

    stage.until(live_or_refused, f"{device.name} could not connect")


def _send(stage: Stage, devices: Devices, what: str, title: str) -> tuple[str, float]:
    envelope = stage.envelope(
        what,
        notification_type="websocket",
        user_id=devices.user_id,
        content={"title": title, "body": "It is order 1027."},
        type="success",
    )
    request_id = envelope["request_id"]
    devices.sent.append(request_id)
    # No stand-in provider gets it: the inbox is the product's own.
    return request_id, stage.send(envelope, deliveries=0)


def _arrives(stage: Stage, device: Device, request_id: str, sent_s: float) -> None:
    """Waits until the notification is on a connected device, and shows it. Raises StepFailed."""
    arrival = stage.until(lambda: device.arrival(request_id), f"{request_id} did not arrive on {device.name}")
    after_s = arrival.at_s - sent_s
    stage.say("received", f"{device.name}, after {after_s:.2f} s: {arrival.row.title}; {arrival.unread} unread")
