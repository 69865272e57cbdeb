"""Processes that refuse their settings: waiting for them to become healthy would be waiting for nothing."""

import re
import time
from collections.abc import Iterable

from ops.errors import BadSetting
from ops.place import Place
from ops.system.log_view import LogFile

# 2 is what our processes end with when a setting is wrong. supervisord tells it nowhere but in its log: of a process
# that ended early it forgets the exit status.
_REFUSED = re.compile(r"exited: (\S+) \(exit status 2;")
#: how long the others get to say what they miss, so that all of it is named at once, seconds
_GATHER_S = 2.0


class Refusals:
    """Ask while the system starts only: later, one that refuses must not take the others down."""

    def __init__(self, place: Place, names: Iterable[str]) -> None:
        self._log = LogFile(place.log_file("supervisord"), from_end=True)
        # From their ends: what an earlier run wrote says nothing about this one.
        self._said = {name: LogFile(place.log_file(name), from_end=True) for name in names}
        self._names: set[str] = set()
        self._since = 0.0

    def check(self) -> None:
        """Call often. Raises BadSetting with what every process that refuses has said."""
        refusing = {found[1] for line in self._log.new_lines() if (found := _REFUSED.search(line))}
        if refusing and not self._names:
            self._since = time.monotonic()
        self._names |= refusing
        if self._names and time.monotonic() - self._since >= _GATHER_S:
            said = [f"{name}:\n{self._words(name)}".rstrip() for name in sorted(self._names)]
            raise BadSetting("\n".join(said))

    def _words(self, name: str) -> str:
        # It was started again meanwhile, and said the same.
        return "\n".join(dict.fromkeys(self._said[name].new_lines()))
