"""Logs what an operator does by command beside the processes' logs: ``./notify logs operator`` shows it."""

import structlog

from ops.place import Place
from shared.logs import configure_logs

NAME = "operator"


def log_actions(place: Place) -> None:
    """Appends all further log lines of this process to that file; none of them go to the terminal."""
    place.log.mkdir(parents=True, exist_ok=True)
    configure_logs(NAME, "INFO", "json")
    file = place.log_file(NAME).open("ab", buffering=0)
    structlog.configure(logger_factory=structlog.BytesLoggerFactory(file))
