"""Builds the Flask app from the resources of ``gateway.api`` and the parts that are passed in."""

from __future__ import annotations

import re
from typing import Any

import structlog
from flask import Flask, Request, Response, g, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException

from gateway.accept.batch import Batches
from gateway.api import failed, health, inbox, notifications, presence, tokens
from gateway.api.browser import register_browser
from gateway.api.docs import register_docs
from gateway.api.resources import RESOURCES
from gateway.health.refused import Refused
from gateway.http.auth import Keyring
from gateway.http.cors import allow_origins
from gateway.http.entry import LOCAL_NAMES, Entry
from gateway.http.errors import FAULT, problem_for
from gateway.http.problem import UNAVAILABLE, Problem
from gateway.inbox.inboxes import Inboxes
from gateway.openapi import openapi_document
from gateway.wiring import Parts, connect
from shared.errors import NotifyError
from shared.failed.queue import FailedQueue
from shared.realtime.presence import PresenceReader
from shared.realtime.refresh import Pairs
from shared.settings.load import load_settings
from shared.settings.settings import Settings

#: A field that is not known has the name that the caller gave it: it may be an address, or of any length.
_FIELD = re.compile(r"(?:(?:[A-Za-z_][A-Za-z0-9_]{0,39}|[0-9]{1,4})(?:\.(?!$)|$)){0,8}")

log = structlog.get_logger(__name__)


class NoSessions(SessionInterface):
    """Opens no session: no caller is remembered by a cookie, so no cookie is read."""

    _NONE = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._NONE


class Gateway(Flask):
    """Logs an exception of a handler without the path of the request: users are named in it."""

    def log_exception(self, exc_info: Any) -> None:
        log.error("request_failed", endpoint=request.endpoint, client=g.get("caller"), exc_info=exc_info)


def create_app(settings: Settings | None = None, parts: Parts | None = None) -> Flask:
    """Builds the app. Without ``parts`` it connects to the broker and Redis of ``settings``: call it after fork."""
    settings = settings or load_settings()
    parts = parts or connect(settings)
    keyring = Keyring(settings.gateway.api_keys, parts.tokens)
    app = Gateway("gateway", static_folder=None)
    app.session_interface = NoSessions()
    refused = Refused(parts.counts)
    accepting = notifications.Accepting(parts.acceptor, refused, Batches())
    app.register_blueprint(notifications.resource.blueprint(accepting, keyring))
    inboxes = Inboxes(parts.store, parts.wakeups, parts.counts.store_unavailable)
    app.register_blueprint(inbox.resource.blueprint(inboxes, keyring))
    app.register_blueprint(presence.resource.blueprint(PresenceReader(parts.redis), keyring))
    issuing = tokens.Issuing(Pairs(parts.tokens, parts.redis), parts.redis)
    app.register_blueprint(tokens.resource.blueprint(issuing, keyring))
    app.register_blueprint(health.resource.blueprint(health.Monitored(parts.health, parts.counts), keyring))
    app.register_blueprint(failed.resource.blueprint(FailedQueue(settings), keyring))
    register_docs(app, openapi_document(RESOURCES, keys_needed=bool(settings.gateway.api_keys)))
    register_browser(app, settings)
    allow_origins(app, settings.gateway.cors_origins)
    _answer_errors(app, refused)
    names = None if settings.gateway.api_keys else _names(settings)
    entry = Entry(app.wsgi_app, parts.progress, names, settings.gateway.trusted_proxies)
    app.wsgi_app = entry  # type: ignore[method-assign]
    return app


def _names(settings: Settings) -> set[str]:
    """Returns the names under which a gateway without keys is called."""
    host = settings.listen_host
    return {*LOCAL_NAMES, *settings.gateway.open_hosts, f"[{host}]" if ":" in host else host}


def _answer_errors(app: Flask, refused: Refused) -> None:
    """Makes the app answer every error with a problem document, also the errors that Flask raises."""

    def answer(problem: Problem, why: str | None = None) -> Response:
        if problem.status >= 400:
            refused.refused(
                problem.status,
                endpoint=request.endpoint,
                address=request.remote_addr,
                client=g.get("caller"),
                request_id=problem.request_id,
                # Only the names of the fields: their values belong to the caller.
                fields=[field if _FIELD.fullmatch(field) else "(not shown)" for field, _ in problem.errors],
                **({"why": why or problem.detail} if problem.status == UNAVAILABLE else {}),
            )
        return problem.response()

    @app.errorhandler(Problem)
    def known_problem(problem: Problem) -> Response:
        return answer(problem)

    @app.errorhandler(NotifyError)
    def known_error(error: NotifyError) -> Response:
        problem = problem_for(error)
        if problem.status == 500:
            log.error("request_failed", endpoint=request.endpoint, client=g.get("caller"), exc_info=error)
        return answer(problem, str(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        if error.code == FAULT.status:
            # ``Gateway`` has logged the exception that Flask turned into this.
            return answer(FAULT)
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return answer(Problem(error.code or 500, error.description or "", headers=headers))
