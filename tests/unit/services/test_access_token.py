import asyncio
import threading
import time

import pytest
from structlog.testing import capture_logs

from services.push.access_token import AccessToken, Granted
from shared.errors import Refusal, Refused, Unavailable
from tests.support.fakes.breaker import Clock
from tests.support.waiting import eventually_async


class Server:
    """Grants t1, t2, ... for an hour each; it hangs while ``gate`` is closed, and refuses while ``error`` is set."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def grant(self) -> Granted:
        self.asked += 1
        number = self.asked
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return Granted(f"t{number}", self.clock.now + 3600)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Server:
    return Server(clock)


@pytest.fixture
def token(server: Server, clock: Clock) -> AccessToken:
    return AccessToken(server.grant, clock)


async def renewed(token: AccessToken, expected: str) -> None:
    """Waits until callers get the token ``expected``."""

    async def comes() -> bool:
        return await token.get(5) == expected

    await eventually_async(comes)


async def test_two_hundred_at_once_fetch_it_once(token: AccessToken, server: Server) -> None:
    assert set(await asyncio.gather(*(token.get(5) for _ in range(200)))) == {"t1"}
    assert await token.get(5) == "t1"
    assert server.asked == 1


async def test_near_its_end_it_is_renewed_while_it_still_serves(
    token: AccessToken, server: Server, clock: Clock
) -> None:
    await token.get(5)
    clock.now += 3600 - 200
    server.gate.clear()
    assert [await token.get(5) for _ in range(50)] == ["t1"] * 50
    server.gate.set()
    await renewed(token, "t2")
    assert server.asked == 2


async def test_a_renewal_that_fails_does_not_disturb_and_is_not_repeated_at_once(
    token: AccessToken, server: Server, clock: Clock
) -> None:
    await token.get(5)
    clock.now += 3600 - 200
    server.error = Unavailable("away")

    with capture_logs() as logged:
        assert await token.get(5) == "t1"
        await eventually_async(lambda: [line["event"] for line in logged] == ["access_token_not_fetched"])
    clock.now += 5
    assert [await token.get(5) for _ in range(20)] == ["t1"] * 20
    assert server.asked == 2
    server.error = None
    clock.now += 10
    await renewed(token, "t3")


async def test_an_expired_token_is_not_used(token: AccessToken, clock: Clock) -> None:
    await token.get(5)
    clock.now += 3600 - 5
    assert await token.get(5) == "t2"


async def test_a_refused_token_is_dropped_and_an_older_refusal_is_ignored(token: AccessToken) -> None:
    await token.get(5)
    token.drop("t1")
    assert await token.get(5) == "t2"
    token.drop("t1")
    assert await token.get(5) == "t2"


async def test_a_refused_key_is_raised_in_every_waiting_caller(token: AccessToken, server: Server) -> None:
    server.error = Refused(Refusal.CREDENTIALS, "key refused")
    answers = await asyncio.gather(*(token.get(5) for _ in range(20)), return_exceptions=True)
    assert {getattr(answer, "refusal", None) for answer in answers} == {Refusal.CREDENTIALS}
    assert server.asked == 1


async def test_after_a_failure_the_next_caller_asks_again(token: AccessToken, server: Server) -> None:
    server.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await token.get(5)
    server.error = None
    assert await token.get(5) == "t2"


async def test_waiting_ends_in_time_and_is_not_ambiguous(token: AccessToken, server: Server) -> None:
    server.gate.clear()
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await token.get(0.05)
    assert not caught.value.ambiguous
    assert time.monotonic() - began < 5
    server.gate.set()
    assert await token.get(5) == "t1"


async def test_one_caller_that_gives_up_does_not_take_the_token_from_the_others(
    token: AccessToken, server: Server
) -> None:
    server.gate.clear()
    impatient, patient = asyncio.create_task(token.get(5)), asyncio.create_task(token.get(5))
    await eventually_async(lambda: server.asked == 1)
    impatient.cancel()
    server.gate.set()
    assert await patient == "t1"
    assert impatient.cancelled()
