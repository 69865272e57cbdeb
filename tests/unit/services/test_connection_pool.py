import asyncio

import pytest

from services.email.connection_pool import ConnectionPool


class Line:
    def __init__(self, number: int) -> None:
        self.number = number
        self.usable = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Exchange:
    """Opens lines and remembers them; refuses while ``down``."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.down = False
        self.now_s = 0.0

    async def connect(self) -> Line:
        if self.down:
            raise ConnectionRefusedError
        self.lines.append(Line(len(self.lines) + 1))
        return self.lines[-1]

    def pool(self, size: int = 2, idle_s: float = 10) -> ConnectionPool[Line]:
        return ConnectionPool(self.connect, size, idle_s, lambda: self.now_s)


async def used(pool: ConnectionPool[Line], fresh: bool = False) -> tuple[int, bool]:
    async with pool.lease(fresh) as lease:
        return lease.connection.number, lease.reused


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


async def test_a_connection_is_used_again_and_says_so(exchange: Exchange) -> None:
    pool = exchange.pool()
    assert [await used(pool), await used(pool)] == [(1, False), (1, True)]


async def test_a_fresh_one_can_be_asked_for(exchange: Exchange) -> None:
    pool = exchange.pool()
    assert [await used(pool), await used(pool, fresh=True)] == [(1, False), (2, False)]


async def test_one_that_idled_too_long_is_closed_not_used(exchange: Exchange) -> None:
    pool = exchange.pool(idle_s=10)
    await used(pool)
    exchange.now_s = 10
    assert await used(pool) == (2, False)
    assert exchange.lines[0].closed


async def test_one_that_the_peer_closed_while_it_idled_is_not_used(exchange: Exchange) -> None:
    pool = exchange.pool()
    await used(pool)
    exchange.lines[0].usable = False
    assert await used(pool) == (2, False)


async def test_one_that_broke_in_use_is_closed(exchange: Exchange) -> None:
    pool = exchange.pool()
    with pytest.raises(ZeroDivisionError):
        async with pool.lease() as lease:
            lease.connection.usable = False
            _ = 1 / 0
    assert exchange.lines[0].closed
    assert await used(pool) == (2, False)


async def test_there_are_never_more_than_its_size(exchange: Exchange) -> None:
    pool = exchange.pool(size=3)
    in_use: list[int] = []
    most: list[int] = []

    async def use() -> None:
        async with pool.lease() as lease:
            in_use.append(lease.connection.number)
            most.append(len(in_use))
            await asyncio.sleep(0)
            in_use.remove(lease.connection.number)

    await asyncio.gather(*(use() for _ in range(50)))
    assert max(most) == 3 == len(exchange.lines)


async def test_failing_to_connect_frees_the_slot(exchange: Exchange) -> None:
    pool = exchange.pool(size=1)
    exchange.down = True
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await used(pool)
    exchange.down = False
    assert await used(pool) == (1, False)


async def test_a_cancelled_user_frees_the_slot(exchange: Exchange) -> None:
    pool = exchange.pool(size=1)
    holding = asyncio.Event()

    async def hold() -> None:
        async with pool.lease():
            holding.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await holding.wait()
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    assert (await asyncio.wait_for(used(pool), 5))[0] == 1


async def test_closing_closes_the_idle_ones_now_and_the_others_when_they_come_back(exchange: Exchange) -> None:
    pool = exchange.pool()
    async with pool.lease() as one:
        await used(pool)
        pool.close()
        assert [line.closed for line in exchange.lines] == [False, True]
    assert one.connection.closed
