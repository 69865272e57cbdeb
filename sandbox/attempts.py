"""Counts the calls that each provider received for each request_id, whether they were accepted or not."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sent:
    """Holds one provider's calls. Each is counted once: by its request_id, else by its target, else in ``unnamed``."""

    by_request_id: OrderedDict[str, int] = field(default_factory=OrderedDict)
    by_target: OrderedDict[str, int] = field(default_factory=OrderedDict)
    #: Calls of which nothing is known, or not yet: refused before a recipient was named, or cut in the body.
    unnamed: int = 0


@dataclass(slots=True)
class Attempts:
    """Counts calls within bounds: for each provider, ``keep`` ids and ``keep`` targets. The oldest is forgotten first
    and counted in ``forgotten``.

    An id that was forgotten begins again at 1: figures are complete only while ``forgotten`` is 0.
    """

    keep: int
    forgotten: int = 0
    sent: dict[str, Sent] = field(default_factory=dict)

    def began(self, provider: str) -> None:
        """Counts a call whose request_id and target are not known yet."""
        self._of(provider).unnamed += 1

    def identified(self, provider: str, request_id: str | None, target: str | None) -> None:
        """Names the request_id of a call that has begun, or at least its target. Use it at most once per call."""
        counts = self._of(provider)
        if request_id:
            self._count(counts.by_request_id, request_id)
        elif target:
            self._count(counts.by_target, target)
        else:
            return
        # The call began before all counts were deleted.
        counts.unnamed = max(0, counts.unnamed - 1)

    def shown(self, providers: Iterable[str]) -> dict[str, object]:
        """Returns ``attempts``, ``targets`` and ``unnamed`` by provider, empty for those never called, and
        ``forgotten``.
        """
        selected = {name: self.sent.get(name, Sent()) for name in providers}
        return {
            "attempts": {name: counts.by_request_id for name, counts in selected.items()},
            "targets": {name: counts.by_target for name, counts in selected.items()},
            "unnamed": {name: counts.unnamed for name, counts in selected.items()},
            "forgotten": self.forgotten,
        }

    def forget(self) -> None:
        self.sent.clear()
        self.forgotten = 0

    def _of(self, provider: str) -> Sent:
        counts = self.sent.get(provider)
        if counts is None:
            counts = self.sent[provider] = Sent()
        return counts

    def _count(self, counts: OrderedDict[str, int], name: str) -> None:
        before = counts.get(name, 0)
        if not before and len(counts) >= self.keep:
            # OrderedDict, not dict: removing the first entry of a plain dict scans all the gaps left before it.
            counts.popitem(last=False)
            self.forgotten += 1
        counts[name] = before + 1
