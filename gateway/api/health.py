"""Serves ``/health``, ``/health/live``, ``/health/ready`` and ``/metrics`` to orchestrators, without a key."""

from __future__ import annotations

from typing import Literal, NamedTuple

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.health.counts import AcceptedCounts
from gateway.health.report import BrokerState, ChannelHealth, Health, HealthAnswer
from gateway.http.answers import AnswerModel
from gateway.http.endpoint import Answer, Reply, Resource
from gateway.http.problem import RETRY_OVERLOADED_S, UNAVAILABLE


class Monitored(NamedTuple):
    """Holds what the handlers here read."""

    health: Health
    counts: AcceptedCounts


class LiveAnswer(AnswerModel):
    """Says that the process is alive."""

    status: Literal["live"]


class ReadyAnswer(AnswerModel):
    """Says whether the process can publish."""

    status: Literal["ready", "unready"]
    broker: BrokerState


resource = Resource[Monitored](
    "operation", "Report health and metrics to orchestrators and monitoring; no key is needed"
)

_RETRY = {"Retry-After": str(RETRY_OVERLOADED_S)}
_METRICS = """# HELP notify_accepted_total Envelopes confirmed by the broker
# TYPE notify_accepted_total counter
notify_accepted_total{channel="push",lane="high"} 42.0
"""


def _channel(name: str, *providers: str) -> ChannelHealth:
    return ChannelHealth(
        queue=f"{name}.queue",
        ready=0,
        consumers=1,
        paused=False,
        breaker_state="closed",
        providers=dict.fromkeys(providers, "closed"),
    )


_HEALTHY = HealthAnswer(
    status="healthy",
    broker="up",
    redis="up",
    store="up",
    channels={
        "push": _channel("push", "fcm"),
        "email": _channel("email", "smtp", "smtp2"),
        "sms": _channel("sms", "twilio"),
        "websocket": _channel("websocket", "inbox"),
    },
)
_UNHEALTHY = _HEALTHY.model_copy(update={"status": "unhealthy", "broker": "down"})


@resource.endpoint(
    "GET",
    "/health",
    answers=[
        Answer(200, "The system is healthy or degraded.", _HEALTHY),
        Answer(503, "The system is unhealthy.", _UNHEALTHY, headers=("Retry-After",)),
    ],
)
def health(monitored: Monitored) -> Reply:
    """Report the health of the whole system."""
    report = monitored.health.report()
    return Reply(report, UNAVAILABLE, _RETRY) if report.status == "unhealthy" else Reply(report)


@resource.endpoint("GET", "/health/live", answers=[Answer(200, "The process is alive.", LiveAnswer(status="live"))])
def live(_monitored: Monitored) -> LiveAnswer:
    """Report that this process is alive."""
    return LiveAnswer(status="live")


@resource.endpoint(
    "GET",
    "/health/ready",
    answers=[
        Answer(200, "The process can publish.", ReadyAnswer(status="ready", broker="up")),
        Answer(503, "It cannot publish now.", ReadyAnswer(status="unready", broker="down"), headers=("Retry-After",)),
    ],
)
def ready(monitored: Monitored) -> Reply:
    """Report whether this process can publish."""
    broker = monitored.health.broker
    if broker != "up":
        return Reply(ReadyAnswer(status="unready", broker=broker), UNAVAILABLE, _RETRY)
    return Reply(ReadyAnswer(status="ready", broker=broker))


@resource.endpoint("GET", "/metrics", answers=[Answer(200, "The metrics in the Prometheus text format.", _METRICS)])
def metrics(monitored: Monitored) -> Response:
    """Return the Prometheus metrics."""
    return Response(monitored.counts.render(), content_type=CONTENT_TYPE_LATEST)
