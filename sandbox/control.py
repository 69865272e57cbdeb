"""Serves ``/sandbox/*``: deliveries, attempts, counts of calls, and faults."""

import orjson
from aiohttp import web
from pydantic import ValidationError

from sandbox.exchange import Bench
from sandbox.fault_rules import LOOKUPS, PROVIDERS, ImpossibleFault, check
from sandbox.faults import Fault
from sandbox.ledger import Delivery
from sandbox.problem import problem

KNOWN = (*PROVIDERS, *LOOKUPS)
_FORMS = {"full": Delivery.shown, "compact": Delivery.compact}


class Control:
    """Holds the handlers; bad input is answered with a problem document."""

    def __init__(self, bench: Bench) -> None:
        self._ledger = bench.ledger
        self._attempts = bench.attempts
        self._faults = bench.faults

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/sandbox/deliveries", self.deliveries),
            web.delete("/sandbox/deliveries", self.forget_deliveries),
            web.get("/sandbox/attempts", self.attempts),
            web.delete("/sandbox/attempts", self.forget_attempts),
            web.get("/sandbox/calls", self.calls),
            web.delete("/sandbox/calls", self.forget_calls),
            web.get("/sandbox/faults", self.faults),
            web.put("/sandbox/faults/{provider}", self.order_fault),
            web.delete("/sandbox/faults", self.lift_all_faults),
            web.delete("/sandbox/faults/{provider}", self.lift_fault),
        ]

    async def health(self, request: web.Request) -> web.Response:
        return _json({"status": "healthy"})

    async def deliveries(self, request: web.Request) -> web.Response:
        """Lists deliveries, oldest first. ``limit`` shows the newest n only (0: none); ``count`` counts all that were
        selected.

        With ``form=compact`` each is ``[provider, request_id, target, at, ended_at]``, times in Unix seconds.
        """
        provider, limit = request.query.get("provider"), request.query.get("limit")
        form = _FORMS.get(request.query.get("form", "full"))
        if (refusal := _unlisted(provider)) is not None:
            return refusal
        if form is None:
            return problem(422, "no such form", [("form", f"must be one of {', '.join(_FORMS)}")])
        if limit is not None and not (limit.isascii() and limit.isdigit()):
            return problem(422, "bad limit", [("limit", "must be a whole number, 0 or more")])
        selected = list(self._ledger.select(provider, request.query.get("request_id")))
        shown = selected if limit is None else selected[max(0, len(selected) - int(limit)) :]
        deliveries = [form(delivery) for delivery in shown]
        return _json({"count": len(selected), "deliveries": deliveries, "forgotten": self._ledger.forgotten})

    async def forget_deliveries(self, request: web.Request) -> web.Response:
        self._ledger.forget_deliveries()
        return web.Response(status=204)

    async def attempts(self, request: web.Request) -> web.Response:
        """Returns the number of calls that each provider received for each request_id, including refused, unanswered
        and cut ones.

        Calls whose request_id is not known are in ``targets``, or else in ``unnamed``.
        """
        provider = request.query.get("provider")
        if (refusal := _unlisted(provider)) is not None:
            return refusal
        return _json(self._attempts.shown(PROVIDERS if provider is None else (provider,)))

    async def forget_attempts(self, request: web.Request) -> web.Response:
        self._attempts.forget()
        return web.Response(status=204)

    async def calls(self, request: web.Request) -> web.Response:
        return _json(self._ledger.totals(KNOWN))

    async def forget_calls(self, request: web.Request) -> web.Response:
        self._ledger.forget_calls()
        return web.Response(status=204)

    async def faults(self, request: web.Request) -> web.Response:
        return _json({"faults": {name: _shown(fault) for name, fault in self._faults.standing.items()}})

    async def order_fault(self, request: web.Request) -> web.Response:
        provider, body = request.match_info["provider"], await request.read()
        if (refusal := _unknown(provider)) is not None:
            return refusal
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return problem(400, f"not JSON: {error}")
        try:
            fault = Fault.model_validate_json(body)
            check(provider, fault)
        except ValidationError as error:
            return problem(422, "not a fault", [_complaint(one["loc"], one["msg"]) for one in error.errors()])
        except ImpossibleFault as error:
            return problem(422, str(error), [(error.field, error.detail)])
        self._faults.order(provider, fault)
        return _json(_shown(fault))

    async def lift_all_faults(self, request: web.Request) -> web.Response:
        self._faults.standing.clear()
        return web.Response(status=204)

    async def lift_fault(self, request: web.Request) -> web.Response:
        provider = request.match_info["provider"]
        if (refusal := _unknown(provider)) is not None:
            return refusal
        self._faults.standing.pop(provider, None)
        return web.Response(status=204)


def _unknown(provider: str) -> web.Response | None:
    """Returns a 404 unless faults can be ordered for ``provider``."""
    if provider in KNOWN:
        return None
    return problem(404, f"no provider {provider!r}", [("provider", f"must be one of {', '.join(KNOWN)}")])


def _unlisted(provider: str | None) -> web.Response | None:
    """Returns a 422 unless there is a ledger of ``provider``; None stands for all of them."""
    if provider is None or provider in PROVIDERS:
        return None
    return problem(422, "no such provider", [("provider", f"must be one of {', '.join(PROVIDERS)}")])


def _complaint(location: tuple[int | str, ...], message: str) -> tuple[str, str]:
    if location:
        return str(location[0]), message
    # An error of the model's own check has no location; its text is "Value error, <field>: <detail>".
    field, _, detail = message.removeprefix("Value error, ").partition(": ")
    return (field, detail) if detail else ("mode", message)


def _shown(fault: Fault) -> dict[str, object]:
    return fault.model_dump(mode="json", exclude_none=True)


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
