"""Defines each endpoint once: Flask serves the definition, and the OpenAPI document is generated from it.

A file in ``gateway/api`` makes one ``Resource`` and declares its endpoints beside their handlers::

    resource = Resource[FailedQueue]("failed", "Look at undeliverable messages, replay them or discard them")

    @resource.endpoint(
        "GET", "/failed", scope="operate", query=Listing, answers=[Answer(200, "The messages.", FailedList(...))]
    )
    def list_failed(queue: FailedQueue, client: str) -> FailedList:
        \"\"\"List failed messages, oldest first.\"\"\"

The handler's name becomes the operationId and the first line of its docstring becomes the summary. An example is an
instance of the answer's model, so it cannot disagree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

from flask import Blueprint, Response, g, request
from pydantic import BaseModel
from werkzeug.routing import BaseConverter

from gateway.http.answers import json_answer
from gateway.http.auth import Keyring, Scope
from gateway.http.problem import Problem

#: The objects that the handlers of one resource work with.
Parts = TypeVar("Parts")
P = ParamSpec("P")
R = TypeVar("R")

Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Describes one answer of an endpoint.

    ``example`` is an instance of its model, a Problem, or text; ``headers`` are names.
    """

    status: int
    meaning: str
    example: BaseModel | Problem | str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """Describes the JSON body of a request: its type (a model or a list of models), and named examples as a caller
    writes them.
    """

    type: Any
    examples: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PathField:
    """Describes a variable in a path; ``schema`` is its JSON Schema."""

    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "minLength": 1})


@dataclass(slots=True)
class Reply:
    """Is returned by a handler when its status or a header differs from the first answer that it declares."""

    document: BaseModel
    status: int | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Describes an endpoint. ``rule`` is its path in Flask's notation.

    The first of ``answers`` is the usual one. ``problems`` lists the statuses that mean the same at every endpoint and
    do not follow from a scope, a body or a query (see ``gateway.openapi.problems``). ``path_fields`` describes the
    variables in the path. A handler with a ``scope`` gets the caller's name as ``client``.

    ``users``: a user's own token is admitted in place of the scope, and the handler gets the ``caller`` instead; a
    ``user_id`` in the path is checked before. ``key_optional``: a caller without a key is admitted too, because the
    body proves who calls.
    """

    name: str
    summary: str
    method: Method
    rule: str
    answers: Sequence[Answer]
    scope: Scope | None
    body: Body | None
    query: type[BaseModel] | None
    path_fields: Mapping[str, PathField]
    problems: Sequence[int]
    users: bool = False
    key_optional: bool = False


class Resource(Generic[Parts]):
    """Collects the endpoints of one resource, in the order of their declaration."""

    def __init__(self, tag: str, description: str, converters: Mapping[str, type[BaseConverter]] | None = None) -> None:
        """Makes a resource without endpoints. ``converters`` are Flask's, for the variables in paths: name -> class."""
        self.tag, self.description = tag, description
        self._converters = converters or {}
        self._handlers: list[tuple[Endpoint, Callable[..., Any]]] = []

    @property
    def endpoints(self) -> list[Endpoint]:
        return [endpoint for endpoint, _ in self._handlers]

    def endpoint(
        self,
        method: Method,
        rule: str,
        *,
        answers: Sequence[Answer],
        scope: Scope | None = None,
        body: Body | None = None,
        query: type[BaseModel] | None = None,
        path_fields: Mapping[str, PathField] | None = None,
        problems: Sequence[int] = (),
        users: bool = False,
        key_optional: bool = False,
    ) -> Callable[[Callable[Concatenate[Parts, P], R]], Callable[Concatenate[Parts, P], R]]:
        """Declares that the decorated handler answers ``method`` on ``rule``. Takes the keywords of ``Endpoint``."""

        def declare(handler: Callable[Concatenate[Parts, P], R]) -> Callable[Concatenate[Parts, P], R]:
            declared = Endpoint(
                name=_camel_case(handler.__name__),
                summary=(handler.__doc__ or "").partition("\n")[0].rstrip("."),
                method=method,
                rule=rule,
                answers=answers,
                scope=scope,
                body=body,
                query=query,
                path_fields=path_fields or {},
                problems=problems,
                users=users,
                key_optional=key_optional,
            )
            self._handlers.append((declared, handler))
            return handler

        return declare

    def blueprint(self, parts: Parts, keyring: Keyring) -> Blueprint:
        """Builds the Flask routes: each checks the declared scope, calls its handler with ``parts`` and answers."""
        blueprint = Blueprint(self.tag, __name__)
        blueprint.record(lambda setup: setup.app.url_map.converters.update(self._converters))
        for endpoint, handler in self._handlers:
            view = _view(endpoint, partial(handler, parts), keyring)
            blueprint.add_url_rule(endpoint.rule, endpoint.name, view, methods=[endpoint.method])
        return blueprint


def _view(endpoint: Endpoint, handler: Callable[..., Any], keyring: Keyring) -> Callable[..., Response]:
    usual, admit = endpoint.answers[0].status, _admission(endpoint, keyring)

    def view(**path: Any) -> Response:
        name = admit(path)
        try:
            reply = handler(**path)
        except Exception:
            # The error handlers log who called.
            g.caller = name
            raise
        if isinstance(reply, Reply):
            return json_answer(reply.document, reply.status or usual, reply.headers)
        return reply if isinstance(reply, Response) else json_answer(reply, usual)

    return view


def _admission(endpoint: Endpoint, keyring: Keyring) -> Callable[[dict[str, Any]], str | None]:
    """Returns what checks the caller, adds to the handler's arguments who it is, and returns the name for the log."""
    scope = endpoint.scope
    if scope is None:
        return lambda path: None
    if not endpoint.users:
        client = keyring.optional_client if endpoint.key_optional else keyring.client

        def admit_client(path: dict[str, Any]) -> str:
            path["client"] = name = client(request.headers, scope)
            return name

        return admit_client

    def admit_caller(path: dict[str, Any]) -> str:
        path["caller"] = caller = keyring.caller(request.headers, scope)
        if "user_id" in path:
            caller.check_user(path["user_id"])
        return caller.name

    return admit_caller


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
