"""The mutations: each takes one guarantee away, in the way that a hurried change would."""

from __future__ import annotations

from tests.faults.mutations.trial import Mutation

MUTANTS = (
    Mutation(
        "ack-before-hand-on",
        "acks a message before its next attempt is stored on the ladder",
        "shared/worker/settler.py",
        "                await self._hand_on(self._to_ladder(job, outcome), job.claim.renew)\n",
        "                job.incoming.ack()\n"
        "                await asyncio.sleep(0)\n"
        "                await self._hand_on(self._to_ladder(job, outcome), job.claim.renew)\n",
        ("killed-at-the-hand-on",),
    ),
    Mutation(
        "held-is-dropped",
        "takes a message that another process holds for a duplicate",
        "shared/worker/handler.py",
        'case "duplicate" | "stale":',
        'case "duplicate" | "stale" | "held":',
        ("random-kills",),
    ),
    Mutation(
        "copied-x-death",
        "copies the headers that the broker has added to the message of the next attempt",
        "shared/worker/settler.py",
        "lane.routing_key, job.incoming.body, travel.to_headers(), job.request_id",
        "lane.routing_key, job.incoming.body, job.incoming.headers | travel.to_headers(), job.request_id",
        ("moved-back-with-old-headers",),
    ),
    Mutation(
        "no-mandatory",
        "publishes without mandatory: a message that no queue takes is confirmed all the same",
        "shared/broker/confirms.py",
        "mandatory=True",
        "mandatory=False",
        ("topology-deleted",),
    ),
    Mutation(
        "no-confirms",
        "takes a message for stored as soon as it is written",
        "shared/broker/confirms.py",
        "        self._pending[self._tag] = self._by_message_id[pending.message_id] = pending\n",
        "        self.room.release()\n        pending.fate.set_result(Fate.CONFIRMED)\n",
        ("broker-killed", "topology-deleted"),
    ),
    Mutation(
        "hidden-retry",
        "the HTTP client repeats a request that got no answer",
        "shared/http/client.py",
        "            return await connection.ask(request, timeout_s)\n",
        "            try:\n"
        "                return await connection.ask(request, timeout_s)\n"
        "            except Exception:\n"
        "                return await (await pool.obtain(timeout_s)).ask(request, timeout_s)\n",
        ("provider-accepts-then-resets",),
        ("I3",),
    ),
    Mutation(
        "mark-before-send",
        "records a message as done before it is sent",
        "shared/worker/handler.py",
        "            return await self._delivery.attempt(job)\n",
        '            await self._recorder.done(job, "early", "")\n'
        "            return await self._delivery.attempt(job)\n",
        ("death-at-each-point",),
    ),
    Mutation(
        "recorded-before-the-confirm",
        "records a message as handed on before the broker has confirmed it",
        "shared/worker/settler.py",
        "                await self._hand_on(self._to_ladder(job, outcome), job.claim.renew)\n",
        "                await self._recorder.handed_on(job, job.travel.attempt + outcome.counted)\n"
        "                await self._hand_on(self._to_ladder(job, outcome), job.claim.renew)\n",
        ("killed-at-the-hand-on",),
    ),
    Mutation(
        "suspects-in-company",
        "handles a suspect while the other lanes flow",
        "shared/worker/worker.py",
        "        await self._consumer.cancel()\n        await self._crew.finish(self._settings.shutdown_s)\n",
        "",
        ("poison-amid-traffic",),
        ("it did not die alone", "I1", "I6"),
    ),
    Mutation(
        "no-declaration-after-a-return",
        "publishes again what no queue took, without declaring anything",
        "shared/broker/publisher.py",
        "                await self._declare_again(until)\n",
        "                await asyncio.sleep(0.1)\n",
        ("topology-deleted",),
        ("I1", "I5"),
    ),
    Mutation(
        "no-generation",
        "lets a late answer count in a breaker that has moved on",
        "shared/breaker/breaker.py",
        "        if breaker is None or breaker._generation != self._generation:\n",
        "        if breaker is None:\n",
        ("provider-down-with-all-in-hand",),
        ("the breaker",),
    ),
)
