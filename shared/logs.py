"""Sets up the logs: one line per event, as JSON on a pipe, in colour on a terminal.

An event has a constant name and fields. It never contains a recipient, a title, a body or a URL with a password.

A line that cannot be written never stops what the process does: a log call raises nothing. The line is counted, and
the next line that can be written is followed by ``log_lines_lost`` with their number.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import orjson
import structlog

from shared.clock import rfc3339_us
from shared.process.printable import printable, printable_lines

#: How long a line waits at most for a reader that has stopped to read, in milliseconds. After one line was lost, the
#: next ones do not wait at all until a line was written again.
PATIENCE_MS = 100
#: A pipe that poll() reports as writable takes this number of bytes at once without blocking (POSIX: PIPE_BUF).
_PIECE_BYTES = select.PIPE_BUF

LogFormat = Literal["auto", "json", "console"]


class LineWriter:
    """Writes whole lines to an open file, or nowhere if ``fd`` is None. It never blocks longer than PATIENCE_MS.

    ``write`` raises an OSError if the line was not written completely; the next line then begins on a new line.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._cut = False
        self._patience_ms = PATIENCE_MS
        self._may_block = fd is not None and not _is_regular_file(fd)
        self._piece_bytes = _PIECE_BYTES if self._may_block else sys.maxsize
        if fd is not None:
            self._poll.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> None:
        if self._fd is None:
            raise OSError("there is no standard output")
        with self._lock:
            left = b"\n%b\n" % line if self._cut else line + b"\n"
            begun = False
            try:
                while left:
                    if self._may_block and not self._poll.poll(self._patience_ms):
                        raise TimeoutError("the reader of the log does not read")
                    left = left[os.write(self._fd, left[: self._piece_bytes]) :]
                    begun = True
            except OSError:
                self._cut = self._cut or begun
                self._patience_ms = 0
                raise
            self._cut = False
            self._patience_ms = PATIENCE_MS


class _Lost:
    """Counts the lines of this process that were not written."""

    def __init__(self) -> None:
        self.total = 0
        self.untold = 0
        self._count: Callable[[], None] | None = None

    def add(self) -> None:
        self.total += 1
        self.untold += 1
        if self._count is not None:
            self._count()

    def count_with(self, count: Callable[[], None]) -> None:
        for _ in range(self.total):
            count()
        self._count = count

    def take_untold(self) -> int:
        lines, self.untold = self.untold, 0
        return lines


_lost = _Lost()


def lost_lines() -> int:
    """Returns how many log lines of this process were not written since ``configure_logs``."""
    return _lost.total


def count_lost_lines(count: Callable[[], None]) -> None:
    """Calls ``count`` once for each line that was lost or will be, for a metric."""
    _lost.count_with(count)


def configure_logs(service: str, level: str = "INFO", log_format: LogFormat = "auto", *, fd: int | None = None) -> None:
    """Sets up structlog and the standard library's root logger for this process; call it once, at the start.

    The lines go to the open file ``fd``, or to the standard output. If that is closed, every line counts as lost.
    """
    global _lost
    _lost = _Lost()
    _occupy_standard_descriptors()
    number = logging.getLevelNamesMapping()[level]
    fd = _standard_output() if fd is None else fd
    on_terminal = fd is not None and os.isatty(fd)
    processors: list[Any]
    if log_format == "json" or (log_format == "auto" and not on_terminal):
        processors = [_JsonLine(service)]
    else:
        processors = [
            _Common(service),
            structlog.processors.format_exc_info,
            _printable,
            structlog.dev.ConsoleRenderer(colors=on_terminal),
            _encoded,
        ]
    writer = LineWriter(fd)
    structlog.configure(
        processors=processors,
        wrapper_class=_unfailing(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    _forward_standard_library(number)


def log_death(task: asyncio.Task[Any]) -> None:
    """Logs the error of a background task that nothing awaits; add it to the task as a done callback."""
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger(__name__).error("task_died", task=task.get_name(), exc_info=error)


def complain(*lines: str) -> None:
    """Writes lines to the standard error, for the person who starts the process. It raises nothing."""
    try:
        print(*map(printable_lines, lines), sep="\n", file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError):
        # Nobody can be told; the exit code still says it.
        _lost.add()


def _unfailing(level: int) -> type[Any]:
    """Returns structlog's logger class for ``level``, but with methods that raise nothing."""
    base: Any = structlog.make_filtering_bound_logger(level)

    class Unfailing(base):  # type: ignore[misc]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> None:
            try:
                self._write_line(method_name, event, fields)
            except structlog.DropEvent:
                return
            except Exception:  # noqa: BLE001 - delivering messages does not depend on saying so
                _lost.add()
                return
            if _lost.untold:
                lines = _lost.take_untold()
                try:
                    self._write_line("warning", "log_lines_lost", {"lines": lines})
                except Exception:  # noqa: BLE001
                    _lost.untold += lines

        def _write_line(self, method_name: str, event: str | None, fields: dict[str, Any]) -> None:
            # The base class does the same, but makes 2 us more of it: it copies the fields and checks their type.
            line: Any = {**self._context, **fields, "event": event}
            for process in self._processors:
                line = process(self._logger, method_name, line)
            self._logger.write(line)

    return Unfailing


class _Common:
    """Adds to an event what every line has: its level, its time and the service."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        structlog.processors.add_log_level(logger, method, event)
        event["at"] = rfc3339_us(time.time_ns() // 1000)
        event["service"] = self._service
        return event


class _JsonLine(_Common):
    """Renders an event as one line of JSON.

    It is one processor in place of structlog's four, because each delivered message has a line: that saves 4 of 12 us.
    """

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        event = super().__call__(logger, method, event)
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        return _dumps(event)


def _dumps(event: MutableMapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, default=str)
    except TypeError:
        # orjson refuses lone surrogates, whole numbers beyond 64 bits and keys that are no texts.
        return json.dumps({str(name): value for name, value in event.items()}, default=str, skipkeys=True).encode()


def _printable(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Escapes what a terminal would obey. Texts of other services stand in the fields of many events."""
    return {
        printable(name): printable_lines(value) if name == "exception" else _printable_value(value)
        for name, value in event.items()
    }


def _printable_value(value: Any) -> Any:
    return value if isinstance(value, (int, float)) or value is None else printable(str(value))


def _encoded(_logger: Any, _method: str, line: str) -> bytes:
    return line.encode(errors="backslashreplace")


def _occupy_standard_descriptors() -> None:
    """Opens /dev/null in the place of those descriptors 0, 1 and 2 that were closed when the process started.

    Otherwise the next socket gets such a number: another library's line would be written to it, and libuv aborts a
    process that closes it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The kernel gives the lowest free number. Nothing can be written there, so what is lost is counted.
            os.open(os.devnull, os.O_RDONLY)


def _standard_output() -> int | None:
    # Python sets sys.stdout to None if descriptor 1 was closed when the process started.
    try:
        return sys.stdout.fileno() if sys.stdout is not None else None
    except (OSError, ValueError):
        return None


def _is_regular_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


class _Forward(logging.Handler):
    """Writes the log lines of libraries in the format of this product."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's text does not fit its arguments
            text = str(record.msg)
        level = max((number for number in _LEVELS if number <= record.levelno), default=logging.DEBUG)
        structlog.get_logger(record.name).log(level, "library_log", text=text, exc_info=record.exc_info or None)


_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


def _forward_standard_library(level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(level, logging.WARNING))
    # pika logs every lost connection with a traceback at ERROR; this product logs the same in one line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
