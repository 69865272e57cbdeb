"""Finds processes that refuse their settings, because they will never become healthy."""

import re
import time
from collections.abc import Iterable

from ops.errors import BadSetting
from ops.place import Place
from ops.system.log_view import LogFile

# The product's processes exit with 2 if a setting is wrong. supervisord reports that only in its log: it forgets the
# exit status of a process that ended early.
_REFUSED = re.compile(r"exited: (\S+) \(exit status 2;")
#: How long the other processes get to report their bad settings, so that all are named at once, in seconds.
_GATHER_S = 2.0


class Refusals:
    """Looks for refusals. Use it only while the system starts: later, one refusal must not stop the other processes."""

    def __init__(self, place: Place, names: Iterable[str]) -> None:
        self._log = LogFile(place.log_file("supervisord"), from_end=True)
        # Read from the end of each log: lines of an earlier run say nothing about this one.
        self._said = {name: LogFile(place.log_file(name), from_end=True) for name in names}
        self._names: set[str] = set()
        self._since = 0.0

    def check(self) -> None:
        """Checks the logs; call it often. Raises BadSetting with the messages of every process that refuses."""
        refusing = {found[1] for line in self._log.new_lines() if (found := _REFUSED.search(line))}
        if refusing and not self._names:
            self._since = time.monotonic()
        self._names |= refusing
        if self._names and time.monotonic() - self._since >= _GATHER_S:
            said = [f"{name}:\n{self._words(name)}".rstrip() for name in sorted(self._names)]
            raise BadSetting("\n".join(said))

    def _words(self, name: str) -> str:
        # The process was restarted meanwhile and wrote the same lines again.
        return "\n".join(dict.fromkeys(self._said[name].new_lines()))
