"""What each provider was sent: how many calls for each request_id, whatever became of them."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sent:
    """One provider's calls. Each is counted once: by its request_id, else by its target, else in ``unnamed``."""

    by_request_id: OrderedDict[str, int] = field(default_factory=OrderedDict)
    by_target: OrderedDict[str, int] = field(default_factory=OrderedDict)
    #: Nothing is known of them, or not yet: turned away before a recipient was named, or cut in the body.
    unnamed: int = 0


@dataclass(slots=True)
class Attempts:
    """Bounded: of each provider, ``keep`` ids and ``keep`` targets; the oldest goes first, counted in ``forgotten``.

    An id that was forgotten begins again at 1: figures are whole only while ``forgotten`` is 0.
    """

    keep: int
    forgotten: int = 0
    sent: dict[str, Sent] = field(default_factory=dict)

    def began(self, provider: str) -> None:
        """A call has come, of nobody knows what."""
        self._of(provider).unnamed += 1

    def identified(self, provider: str, request_id: str | None, target: str | None) -> None:
        """The call, begun before, is for this request_id, or at least for this target. At most once a call."""
        counts = self._of(provider)
        if request_id:
            self._count(counts.by_request_id, request_id)
        elif target:
            self._count(counts.by_target, target)
        else:
            return
        # It began before somebody had everything forgotten.
        counts.unnamed = max(0, counts.unnamed - 1)

    def shown(self, providers: Iterable[str]) -> dict[str, object]:
        """``attempts``, ``targets`` and ``unnamed`` by provider, with nothing for those never called; ``forgotten``."""
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
            # OrderedDict, not dict: taking the first of a plain one scans all the gaps left before it.
            counts.popitem(last=False)
            self.forgotten += 1
        counts[name] = before + 1
