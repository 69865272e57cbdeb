"""Tests that access token and request share one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from services.push import fcm
from services.push.fcm import Fcm
from shared.errors import Unavailable
from shared.http.client import Response
from tests.support.messages import message, send


class Clock:
    """Replaces the module ``time``."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class SlowToken:
    """Returns a token after ``takes_s`` seconds."""

    def __init__(self, clock: Clock, takes_s: float) -> None:
        self._clock, self._takes_s = clock, takes_s

    async def get(self, _timeout_s: float) -> str:
        self._clock.now_s += self._takes_s
        return "t1"


class Vendor:
    """Accepts every request, and remembers its timeout."""

    def __init__(self) -> None:
        self.timeouts_s: list[float] = []

    async def post(self, _url: str, _body: bytes, _headers: Mapping[str, str], timeout_s: float) -> Response:
        self.timeouts_s.append(timeout_s)
        return Response(200, {}, b"{}")


def provider(monkeypatch: pytest.MonkeyPatch, token_takes_s: float) -> tuple[Fcm, Vendor]:
    clock, vendor = Clock(), Vendor()
    monkeypatch.setattr(fcm, "time", clock)
    made: Any = Fcm("fcm", "http://vendor.example/", 10.0, "")
    made._http, made._access_token = vendor, SlowToken(clock, token_takes_s)
    return made, vendor


async def test_the_request_gets_only_the_time_that_the_token_left(monkeypatch: pytest.MonkeyPatch) -> None:
    made, vendor = provider(monkeypatch, token_takes_s=8.0)
    await send(made, message())
    assert vendor.timeouts_s == [2.0]


async def test_no_request_is_sent_when_the_token_took_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, vendor = provider(monkeypatch, token_takes_s=10.0)
    with pytest.raises(Unavailable) as caught:
        await send(made, message())
    assert not caught.value.ambiguous
    assert vendor.timeouts_s == []
