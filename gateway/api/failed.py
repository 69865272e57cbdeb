"""``/failed``: what could not be delivered, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop
from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.routing import BaseConverter

from gateway.api.answers import json_answer
from gateway.http.auth import Keyring
from gateway.http.body import read_json
from gateway.http.problem import Problem
from shared.errors import InvalidSelection
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_discard, parse_listing, parse_replay
from shared.message.envelope import MAX_BODY_BYTES

T = TypeVar("T")


class FailedId(BaseConverter):
    """The rest of the path, unless it names an operation: GET on one of those is a wrong method, not a missing id."""

    regex = "(?!(?:replay|discard)$)[^/]+"


def failed_blueprint(queue: FailedQueue, keyring: Keyring) -> Blueprint:
    """All need the scope ``operate``. A caller waits for as long as its operation takes, in a thread of its own."""
    blueprint = Blueprint("failed", __name__)
    blueprint.record(lambda setup: setup.app.url_map.converters.update(failed_id=FailedId))

    @blueprint.get("/failed")
    def listing() -> Response:
        keyring.client(request.headers, "operate")
        return json_answer(_run(queue.list(parse_listing(_listing_fields(request.args)))).document())

    @blueprint.get("/failed/<failed_id:failed_id>")
    def show(failed_id: str) -> Response:
        operator = keyring.client(request.headers, "operate")
        shown = _run(queue.show(failed_id, reveal=_reveal(request.args), operator=operator))
        if shown is None:
            raise Problem(404, f"no failed message {failed_id} among those scanned")
        return json_answer(shown.document())

    @blueprint.post("/failed/replay")
    def replay() -> Response:
        operator = keyring.client(request.headers, "operate")
        selection = parse_replay(read_json(request, MAX_BODY_BYTES))
        return json_answer(_run(queue.replay(selection, operator=operator)).document())

    @blueprint.post("/failed/discard")
    def discard() -> Response:
        operator = keyring.client(request.headers, "operate")
        selection = parse_discard(read_json(request, MAX_BODY_BYTES))
        return json_answer(_run(queue.discard(selection, operator=operator)).document())

    return blueprint


def _run(operation: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(operation)


def _listing_fields(query: MultiDict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = _once(query)
    limit = fields.get("limit", "")
    if limit.isascii() and limit.isdigit() and len(limit) < 10:
        fields["limit"] = int(limit)
    return fields


def _reveal(query: MultiDict[str, str]) -> bool:
    fields = _once(query)
    reveal = fields.pop("reveal", "false")
    problems = [(name, "unknown field") for name in fields]
    if reveal not in ("true", "false"):
        problems.append(("reveal", "must be true or false"))
    if problems:
        raise Problem(422, "the query is not valid", problems)
    return reveal == "true"


def _once(query: MultiDict[str, str]) -> dict[str, str]:
    """Every parameter with its one value. Two values of one must not be answered as if there were one."""
    problems = [(name, "given more than once") for name, values in query.lists() if len(values) > 1]
    if problems:
        raise InvalidSelection(problems)
    return query.to_dict()
