"""Logs what an operator does by command beside the processes' logs: ``./notify logs operator`` shows it."""

import os

from ops.place import Place, writing_to
from shared.logs import configure_logs

NAME = "operator"


def log_actions(place: Place) -> None:
    """Appends all further log lines of this process to that file; none of them go to the terminal.

    Raises BadSetting if there can be no such file: an action without a record is not carried out.
    """
    with writing_to(place.log):
        place.log.mkdir(parents=True, exist_ok=True)
        # The file stays open until the process ends.
        file = os.open(place.log_file(NAME), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    configure_logs(NAME, "INFO", "json", fd=file)
