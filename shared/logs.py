"""Sets up the logs: one line per event, as JSON on a pipe, in colour on a terminal.

An event has a constant name and fields. It never contains a recipient, a title, a body or a URL with a password.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import orjson
import structlog


def configure_logs(service: str, level: str = "INFO", log_format: Literal["auto", "json", "console"] = "auto") -> None:
    """Sets up structlog and the standard library's root logger for this process; call it once, at the start."""
    number = logging.getLevelNamesMapping()[level]
    as_json = log_format == "json" or (log_format == "auto" and not sys.stdout.isatty())
    common: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _Service(service),
    ]
    if as_json:
        final: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
        factory: Any = structlog.BytesLoggerFactory()
    else:
        final = [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        factory = structlog.PrintLoggerFactory()
    structlog.configure(
        processors=[*common, *final],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    _forward_standard_library(number)


class _Service:
    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["service"] = self._service
        return event


def _dumps(event: dict[str, Any], **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


class _Forward(logging.Handler):
    """Writes the log lines of libraries in the format of this product."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library_log", text=record.getMessage(), exc_info=record.exc_info or None)


def _forward_standard_library(level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(level, logging.WARNING))
    # pika logs every lost connection with a traceback at ERROR; this product logs the same in one line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
