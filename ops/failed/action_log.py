"""What an operator did by command goes where the processes' logs are: ``./notify logs operator``."""

import structlog

from ops.place import Place
from shared.logs import configure_logs

NAME = "operator"


def log_actions(place: Place) -> None:
    """From now on log lines of this process are appended to that file, and nothing of them to the terminal."""
    place.log.mkdir(parents=True, exist_ok=True)
    configure_logs(NAME, "INFO", "json")
    file = place.log_file(NAME).open("ab", buffering=0)
    structlog.configure(logger_factory=structlog.BytesLoggerFactory(file))
