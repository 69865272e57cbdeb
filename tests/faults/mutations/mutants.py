"""Lists the mutations: each removes one guarantee, in the way that a hurried change would."""

from __future__ import annotations

from tests.faults.mutations.mutation import Mutation

MUTANTS = (
    Mutation(
        "ack-before-forward",
        "acks a message before its next attempt is stored on the ladder",
        "Settler.settle",
        "await self._forward(received.incoming, self._to_ladder(received, outcome, job.request_id), job)",
        """
        received.incoming.ack()
        await asyncio.sleep(0)
        await self._forward(received.incoming, self._to_ladder(received, outcome, job.request_id), job)
        """,
        ("killed-while-forwarding",),
    ),
    Mutation(
        "held-is-dropped",
        "takes a message that another process holds for a duplicate",
        "Delivery.unclaimed",
        'case "duplicate" | "stale":',
        'case "duplicate" | "stale" | "held":',
        ("random-kills",),
    ),
    Mutation(
        "copied-x-death",
        "copies the headers that the broker has added to the message of the next attempt",
        "Settler._to_ladder",
        "state.to_headers()",
        "incoming.headers | state.to_headers()",
        ("moved-back-with-old-headers",),
    ),
    Mutation(
        "no-mandatory",
        "publishes without mandatory: a message that no queue takes is confirmed all the same",
        "Outlet.send",
        "mandatory=True",
        "mandatory=False",
        ("topology-deleted",),
    ),
    Mutation(
        "no-confirms",
        "takes a message for stored as soon as it is written",
        "Outlet.send",
        "self._pending[self._tag] = self._by_message_id[pending.message_id] = pending",
        """
        self.room.release()
        pending.fate.set_result(Fate.CONFIRMED)
        """,
        ("broker-killed", "topology-deleted"),
    ),
    Mutation(
        "hidden-retry",
        "the HTTP client repeats a request that got no answer",
        "HttpClient.post",
        "return await connection.ask(request, timeout_s)",
        """
        try:
            return await connection.ask(request, timeout_s)
        except Exception:
            return await (await pool.obtain(timeout_s)).ask(request, timeout_s)
        """,
        ("provider-accepts-then-resets",),
        ("I3",),
    ),
    Mutation(
        "mark-before-send",
        "records a message as done before it is sent",
        "Handler._claim_and_attempt",
        "outcome = await self._delivery.attempt(job)",
        """
        await self._settler._recorder.done(job, "early", "")
        outcome = await self._delivery.attempt(job)
        """,
        ("death-at-each-point",),
    ),
    Mutation(
        "recorded-before-the-confirm",
        "records a message as handed on before the broker has confirmed it",
        "Settler.settle",
        "await self._forward(received.incoming, self._to_ladder(received, outcome, job.request_id), job)",
        """
        await self._recorder.forwarded(job, received.state.attempt + outcome.counted)
        await self._forward(received.incoming, self._to_ladder(received, outcome, job.request_id), job)
        """,
        ("killed-while-forwarding",),
    ),
    Mutation(
        "suspects-in-company",
        "handles a suspect while the other lanes flow",
        "Flow.alone",
        """
        await self._supply.cancel()
        while signals.suspects and await self._clear():
        """,
        """
        while signals.suspects:
        """,
        ("poison-amid-traffic",),
        ("it did not die alone", "I1", "I6"),
    ),
    Mutation(
        "no-declaration-after-a-return",
        "publishes again what no queue took, without declaring anything",
        "Publisher.publish_all",
        "await self._declare_again(until)",
        "await asyncio.sleep(0.1)",
        ("topology-deleted",),
        ("nobody has declared", "I1", "I5"),
    ),
    Mutation(
        "no-generation",
        "lets a late answer count in a breaker that has moved on",
        "Permit._current",
        "if breaker is None or breaker._generation != self._generation:",
        "if breaker is None:",
        ("provider-down-with-all-in-hand",),
        ("the breaker",),
    ),
    Mutation(
        "wakeup-before-the-commit",
        "tells the nodes of new notifications before they are committed, and not again",
        "Inbox._write",
        "inserted = await self._threads.write(self._insert, [one.row for one in batch])",
        """
        from shared.store.values import Change
        early = [Change(one.row.owner, "", 0, 0, 0, 0) for one in batch]
        await self._wake_ups.publish(early)
        inserted = await self._threads.write(self._insert, [one.row for one in batch])
        inserted = Inserted(inserted.results, ())
        """,
        ("every-change-in-time",),
        ("I10", "I12"),
    ),
    Mutation(
        "quiet-repeat",
        "tells nobody of a notification that was stored before: its first writer may have died before it told anybody",
        "Inbox._settle",
        "task = asyncio.create_task(self._wake_ups.publish(inserted.changes))",
        """
        changes = [change for change in inserted.changes if not change.bare]
        task = asyncio.create_task(self._wake_ups.publish(changes))
        """,
        ("writer-killed-before-it-tells",),
        ("I10", "I12"),
    ),
    Mutation(
        "no-comparison-after-a-cut",
        "subscribes again after a lost connection, and does not compare positions",
        "Subscriber._listen",
        "self._on_restored()",
        "",
        ("subscriptions-cut",),
        ("I10",),
    ),
    Mutation(
        "read-before-subscribed",
        "reads the rows of a device while the subscription of its user is still on its way",
        "Hub._subscribe",
        "await self._subscriptions.subscribe(user.owner)",
        "self._run(self._subscriptions.subscribe(user.owner))",
        ("devices-flapping",),
        ("I10", "I12"),
    ),
    Mutation(
        "epoch-not-compared",
        "continues a position of another epoch: the offsets of a restored store mean other changes",
        "_pulled",
        "since.epoch == epoch and floor <= since.offset <= seq",
        "floor <= since.offset <= seq",
        ("store-restored",),
        ("I10",),
    ),
)
