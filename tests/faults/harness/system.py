"""Runs one whole system under test, on a virtual host of its own: gateways, workers, providers, senders, ledgers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from shared.broker.publisher import Publisher
from tests.faults.harness.inboxes import CHANNEL, CONSUMER, ROLE, SOCKETS, Inboxes
from tests.faults.harness.member import Member
from tests.faults.harness.providers import ProviderSide
from tests.faults.harness.scale import PROVIDER_TIMEOUT_S, scaled_settings
from tests.faults.harness.variables import product_variables, provider_variables, through
from tests.faults.ledger.collecting import Counts, counted, drained, failed_entries, skipped_in_logs, skipped_in_redis
from tests.faults.ledger.ledgers import Answer, Ledgers
from tests.faults.load.envelopes import Writer
from tests.faults.load.senders import Load
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually_async

#: a process reports that it is ready within this time, seconds
READY_S = 30.0
#: interval between two probes of the gateways' /health, seconds
PROBE_EVERY_S = 0.5
#: a probe waits longer than any answer may take, so that a late answer is seen as late, seconds
PROBE_GIVE_UP_S = 20.0
#: stands in ``Plan.amqp_ports`` for all gateways and workers that are not named
EVERYBODY = "*"
#: number of deliveries that the sandbox remembers
KEEP = 200_000


@dataclass(frozen=True)
class Plan:
    """Says which processes there are, and how they reach the servers."""

    workers: Mapping[str, int]
    gateways: int = 1
    #: None: the broker and Redis themselves; otherwise the address of a proxy
    amqp_url: str | None = None
    redis_url: str | None = None
    #: a proxy's port in place of the broker's: by member (``push-0``), or by ``EVERYBODY`` for all others
    amqp_ports: Mapping[str, int] = field(default_factory=dict)
    #: longest that one call to a provider may take, seconds
    provider_timeout_s: float = PROVIDER_TIMEOUT_S
    #: more environment variables for gateways and workers
    variables: Mapping[str, str] = field(default_factory=dict)
    #: the same for one member (``websocket-0``), or for all workers of a channel (``websocket``)
    variables_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: where the inboxes are; None: there are none
    database_url: str | None = None
    #: the points at which each worker dies in its first start (see ``worker_process``), its second start, and so on;
    #: "none" after these. ``dying``: only these workers die, if any are named
    points: tuple[str, ...] = ()
    dying: tuple[str, ...] = ()
    #: the passing of the point at which the worker dies
    nth: int = 0
    #: True: the last of ``points`` is used for each later start too
    every_start: bool = False
    #: False: the scenario calls ``start_workers`` itself
    start_workers: bool = True
    #: the time that the clock of each worker shows when it starts, milliseconds since the epoch; None: the real time
    clock_ms: int | None = None


class System:
    """Holds the running processes and their ledgers; ``running`` makes it. The scenario marks the end of a fault; all
    else is collected at the end.
    """

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        draw: random.Random,
        broker: Counts,
        vhost: str,
        amqp_url: str,
        redis_url: str,
        http: aiohttp.ClientSession,
    ) -> None:
        self.plan, self.directory, self.draw = plan, directory, draw
        self.broker, self.vhost, self.http = broker, vhost, http
        #: the broker and Redis themselves, even if a proxy stands between them and the processes
        self.amqp_url, self.redis_url = amqp_url, redis_url
        self.ledgers = Ledgers()
        self.writer = Writer(draw, [name for name, count in plan.workers.items() if count])
        self.journal = directory / "journal"
        port, smtp_port = run_ports(2)
        self.providers = ProviderSide(port, smtp_port, http)
        timeouts = provider_variables(port, smtp_port, plan.provider_timeout_s)
        # Never the developer's own database: without inboxes it is one without tables.
        database = {"DATABASE_URL": plan.database_url or f"sqlite:///{directory.resolve()}/notify.db"}
        self.variables = product_variables(
            plan.amqp_url or amqp_url,
            plan.redis_url or redis_url,
            self.providers,
            **{**timeouts, **database, **plan.variables},
        )
        self._inboxes = None if plan.database_url is None else Inboxes(plan.database_url, draw)
        self.sandbox = self._sandbox()
        self.gateways = [self._gateway(number) for number in range(plan.gateways)]
        self.workers = [
            self._worker(channel, number) for channel, count in plan.workers.items() for number in range(count)
        ]
        self.publisher = Publisher(
            amqp_url, "senders", levels_s=scaled_settings().broker.retry_levels_s, deadline_s=20, max_pending=5000
        )
        urls = [f"http://127.0.0.1:{gateway.port}" for gateway in self.gateways]
        self.load = Load(self.ledgers, urls, self.publisher, http)
        self._probes: list[asyncio.Task[None]] = []

    @property
    def inboxes(self) -> Inboxes:
        """Returns the inboxes; only if the plan has a worker of their channel."""
        assert self._inboxes is not None
        return self._inboxes

    # -- starting ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts all processes at once, since most of the time is spent in imports, and returns when all are ready."""
        for member in (self.sandbox, *self.gateways):
            member.start()
        self.publisher.start()
        if self.plan.start_workers:
            await self.start_workers()
        await eventually_async(self.providers.is_up, READY_S)
        await asyncio.wait_for(self.publisher.connection.wait_up(), READY_S)
        for gateway in self.gateways:
            await self.ready(gateway, "/health/ready")

    async def start_workers(self, *, wait: bool = True) -> None:
        for worker in self.workers:
            worker.start()
        for worker in self.workers if wait and not self.plan.points else []:
            await self.ready(worker, "/health")

    async def ready(self, member: Member, path: str) -> None:
        """Waits until the member answers 200 at ``path``. Raises AssertionError with its last output."""

        async def answers() -> bool:
            return (await self.status_of(member, path)) == 200

        try:
            await eventually_async(answers, READY_S)
        except AssertionError as exc:
            raise AssertionError(f"{member.name} is not ready; it said:\n{member.said()}") from exc

    async def status_of(self, member: Member, path: str) -> int:
        """Returns the HTTP status of ``path``, or 0 if nothing listens."""
        try:
            async with self.http.get(f"http://127.0.0.1:{member.port}{path}", timeout=_PROBE_TIMEOUT) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def health_of(self, member: Member) -> dict[str, object]:
        """Returns the document of its ``/health``, with any HTTP status."""
        async with self.http.get(f"http://127.0.0.1:{member.port}/health", timeout=_PROBE_TIMEOUT) as answer:
            document: dict[str, object] = await answer.json()
            return document

    def probe(self) -> None:
        """Asks every gateway for its health, again and again, as an orchestrator would, until ``end_probing``."""
        self._probes = [asyncio.create_task(self._probe(gateway)) for gateway in self.gateways]

    async def end_probing(self) -> None:
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    async def _probe(self, gateway: Member) -> None:
        while True:
            at, began = time.time(), time.perf_counter()
            status = await self.status_of(gateway, "/health")
            self.ledgers.answers.append(Answer("GET /health", status, time.perf_counter() - began, at))
            await asyncio.sleep(PROBE_EVERY_S)

    # -- looking and ending ------------------------------------------------------------------------------------

    def healed(self) -> None:
        """Records that the fault is over: recovery is measured from now."""
        self.ledgers.healed_at = time.time()

    def counted(self) -> dict[str, int]:
        """Returns the product's own counters so far, summed over all workers, dead and alive."""
        return counted(self.journal)

    @property
    def deaths(self) -> int:
        return sum(worker.deaths for worker in self.workers)

    async def delivered(self, at_least: int, deadline_s: float = 30) -> None:
        """Waits until the providers have accepted at least this number of calls."""

        async def reached() -> bool:
            return await self.providers.accepted_calls() >= at_least

        await eventually_async(reached, deadline_s)

    async def drain(self, deadline_s: float) -> None:
        """Waits until every queue is empty, and records when that was, or what is left."""
        if not self.ledgers.healed_at:
            self.healed()
        self.ledgers.drained_at, self.ledgers.held = await drained(self.broker, self.vhost, deadline_s)

    async def settle(self, within_s: float) -> None:
        """Waits until every device shows what the store has, and lets the devices leave."""
        if self._inboxes is not None:
            await self._inboxes.settle(within_s)

    async def stop(self) -> None:
        """Sends SIGTERM to all processes. Raises AssertionError if one does not end with 0."""
        # Probing ends first: a gateway that has been asked to stop need not answer its prober.
        await self.end_probing()
        members = (*self.workers, *self.gateways)
        codes = await asyncio.gather(*(member.stop() for member in members))
        bad = {member.name: code for member, code in zip(members, codes, strict=True) if code}
        assert not bad, f"did not stop in good order (exit codes): {bad}"

    async def collect(self) -> None:
        """Fills the ledgers; the workers have ended by then."""
        led = self.ledgers
        led.calls = await self.providers.accepted()
        led.tries = await self.providers.tries()
        led.failed += await asyncio.to_thread(failed_entries, self.amqp_url)
        logs = [worker.log for worker in self.workers]
        led.skipped = skipped_in_logs(logs) | await asyncio.to_thread(skipped_in_redis, self.redis_url)
        led.counted.update(counted(self.journal))
        if self._inboxes is not None:
            await self._inboxes.collect(led)

    async def end(self) -> None:
        """Kills all processes that are left."""
        await self.end_probing()
        if self._inboxes is not None:
            await self._inboxes.end()
        await asyncio.gather(*(member.end() for member in (*self.workers, *self.gateways, self.sandbox)))
        await self.publisher.close()

    # -- the processes -----------------------------------------------------------------------------------------

    def _variables_of(self, name: str) -> dict[str, str]:
        port = self.plan.amqp_ports.get(name, self.plan.amqp_ports.get(EVERYBODY))
        if port is None:
            return self.variables
        return self.variables | {"RABBITMQ_URL": through(self.variables["RABBITMQ_URL"], port)}

    def _sandbox(self) -> Member:
        port, smtp_port = self.providers.port, self.providers.smtp_port
        command = ["sandbox", "--port", str(port), "--smtp-port", str(smtp_port)]
        return Member(
            "sandbox", lambda _: [*command, "--keep", str(KEEP)], self.variables, self.directory, self.providers.port
        )

    def _gateway(self, number: int) -> Member:
        [port] = run_ports(1)
        variables = self._variables_of(f"gateway-{number}") | {"GATEWAY_PORT": str(port)}
        return Member(f"gateway-{number}", lambda _: ["gateway"], variables, self.directory, port)

    def _worker(self, channel: str, number: int) -> Member:
        [port] = run_ports(1)
        plan, name = self.plan, f"{channel}-{number}"

        def command(starts: int) -> list[str]:
            if plan.points and plan.every_start:
                starts = min(starts, len(plan.points) - 1)
            dies = starts < len(plan.points) and (not plan.dying or name in plan.dying)
            point, nth = (plan.points[starts], plan.nth) if dies else ("none", 0)
            clock = [] if plan.clock_ms is None else [str(plan.clock_ms)]
            return ["tests.faults.harness.worker_process", channel, point, str(nth), str(self.journal), *clock]

        own = {**plan.variables_of.get(channel, {}), **plan.variables_of.get(name, {})}
        variables = self._variables_of(name) | {f"{channel.upper()}_PORT": str(port)}
        if channel != CHANNEL:
            return Member(name, command, variables | own, self.directory, port, forked=True)
        socket_port, more = self.inboxes.variables({**plan.variables, **own})
        serves = own.get(ROLE) != CONSUMER
        # Without the consuming half nothing listens on the port of the worker.
        health_port = port if own.get(ROLE) != SOCKETS else socket_port
        node = Member(name, command, variables | more, self.directory, health_port, forked=True)
        if serves:
            self.inboxes.add(node, socket_port)
        return node


_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=PROBE_GIVE_UP_S)


@asynccontextmanager
async def running(
    plan: Plan, directory: Path, draw: random.Random, broker: Counts, vhost: str, amqp_url: str, redis_url: str
) -> AsyncIterator[System]:
    """Starts a system, waits until it is ready, and probes its gateways; all processes left at the end are killed."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        # The client has no limit: requests must wait at the gateway, not here.
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        system = System(plan, directory, draw, broker, vhost, amqp_url, redis_url, http)
        stack.push_async_callback(system.end)
        await system.start()
        system.probe()
        yield system
