"""Tests that the devices of ``./notify demo`` leave nothing behind, whatever happens to the demo."""

import threading
from pathlib import Path

import pytest

from ops.demo.devices import Devices, devices_of
from ops.demo.stage import StepFailed
from ops.signals import STOP_SIGNALS

#: Nothing listens there.
NOWHERE = "ws://127.0.0.1:1/ws"


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Devices:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Devices("demo-1", NOWHERE, lambda user_id: None)


def test_after_an_error_they_are_gone_and_the_inbox_is_emptied(devices: Devices, tmp_path: Path) -> None:
    emptied: list[str] = []
    with pytest.raises(StepFailed, match="on purpose"), devices_of(devices, emptied.append):
        devices["phone"].connect()
        devices.sent.append("r1")
        raise StepFailed("on purpose")
    assert emptied == ["demo-1"]
    assert [thread.name for thread in threading.enumerate() if thread.name == "devices"] == []
    assert list(tmp_path.iterdir()) == []


def test_an_inbox_to_which_nothing_was_sent_is_not_asked_for(devices: Devices) -> None:
    emptied: list[str] = []
    with devices_of(devices, emptied.append):
        assert devices["phone"].is_live is False
    assert emptied == []


def test_signals_reach_only_the_main_thread(devices: Devices) -> None:
    with devices_of(devices, lambda user_id: None):
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "devices")
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    blocked = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
    assert all(blocked & (1 << (number - 1)) for number in STOP_SIGNALS)


def test_a_device_that_is_not_connected_cannot_read(devices: Devices) -> None:
    with devices_of(devices, lambda user_id: None), pytest.raises(StepFailed, match="phone is not connected"):
        devices["phone"].read([1])
