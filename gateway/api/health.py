"""``/health``, ``/health/live``, ``/health/ready`` and ``/metrics``: for orchestrators, without a key."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api.answers import json_answer
from gateway.health.counts import AcceptedCounts
from gateway.health.report import Health
from gateway.http.problem import RETRY_OVERLOADED_S

_RETRY = {"Retry-After": str(RETRY_OVERLOADED_S)}


def health_blueprint(health: Health, counts: AcceptedCounts) -> Blueprint:
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/health")
    def report() -> Response:
        document = health.report()
        return json_answer(document, 503, _RETRY) if document["status"] == "unhealthy" else json_answer(document)

    @blueprint.get("/health/live")
    def live() -> Response:
        return json_answer({"status": "live"})

    @blueprint.get("/health/ready")
    def ready() -> Response:
        broker = health.broker
        if broker != "up":
            return json_answer({"status": "unready", "broker": broker}, 503, _RETRY)
        return json_answer({"status": "ready", "broker": broker})

    @blueprint.get("/metrics")
    def metrics() -> Response:
        return Response(counts.render(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
