"""Compares what devices were shown with the promises of the product (invariants I10 to I13)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from shared.realtime.close_codes import OVERLOADED
from tests.faults.devices.record import DeviceRecord, Made
from tests.faults.ledger.bounds import Bounds
from tests.faults.ledger.ledgers import Ledgers

#: when a device may come back that was sent away because the store does not answer, milliseconds
AFTER_MS = (5_000, 15_000)


def no_hole(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    """I10: each device shows exactly its inbox, as far as it has loaded it."""
    yield from led.inbox_faults
    differing = [(device.name, found) for device in led.devices for found in (*device.gaps, *device.differences)]
    if differing:
        name, found = differing[0]
        names = {name for name, _ in differing}
        yield f"{len(names)} of {len(led.devices)} devices have holes or stale rows, such as {name}: {found}"


def no_double(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    """I11: a change is sent once on a connection, and a notification is announced once."""
    doubles = [(device.name, double) for device in led.devices for double in device.doubles]
    if doubles:
        name, double = doubles[0]
        yield f"{len(doubles)} came twice, such as to {name}: {double}"


def in_time(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    """I12: every change is on every connected device in time. What this process itself was held up does not count."""
    if bounds.stale_s is None:
        return
    allowed_s = bounds.stale_s + led.stalled_s
    late = [(lag_s, name, made) for lag_s, name, made in lags(led) if lag_s > allowed_s]
    if late:
        lag_s, name, made = max(late)
        yield (
            f"{len(late)} changes were shown later than {bounds.stale_s:.1f} s (this process was held up for "
            f"{led.stalled_s:.1f} s), such as offset {made.offset} on {name}: {lag_s:.1f} s"
        )


def connections_stay(led: Ledgers, bounds: Bounds) -> Iterator[str]:
    """I13: a connection ends only by a fault of the scenario, and a device starts anew only if its position is lost."""
    codes = Counter(end.code for device in led.devices for end in device.ends)
    for code, times in sorted(codes.items()):
        if times > bounds.ends.get(code, 0):
            yield f"{times} connections ended with {code}, at most {bounds.ends.get(code, 0)} expected"
    resets = sum(device.resets for device in led.devices)
    if resets > bounds.resets:
        yield f"{resets} times a device was told to start anew, at most {bounds.resets} expected"
    least, most = AFTER_MS
    waits = [end.after_ms for device in led.devices for end in device.ends if end.code == OVERLOADED.code]
    wrong = [after_ms for after_ms in waits if after_ms is None or not least <= after_ms <= most]
    if wrong:
        yield f"{len(wrong)} devices were sent away without a time to come back, such as {wrong[0]}"


DEVICE_RULES: dict[str, Callable[[Ledgers, Bounds], Iterator[str]]] = {
    "I10": no_hole,
    "I11": no_double,
    "I12": in_time,
    "I13": connections_stay,
}


def lags(led: Ledgers) -> Iterator[tuple[float, str, Made]]:
    """Yields how long each change was not shown by each device that was connected for it."""
    by_user: dict[str, list[DeviceRecord]] = {}
    for device in led.devices:
        by_user.setdefault(device.user, []).append(device)
    for made in led.changes:
        for device in by_user.get(made.user, ()):
            for life in device.lives:
                lag_s = life.lag_s(made)
                if lag_s is not None:
                    yield lag_s, device.name, made


def longest_lag_s(led: Ledgers) -> float | None:
    """Returns the longest time for which a connected device did not show a change; None if there was none."""
    return max((lag_s for lag_s, _, _ in lags(led)), default=None)
