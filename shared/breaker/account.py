"""Judges whether a provider's refusals speak for our account, and not for the recipients that they name.

Vendors' codes will never be complete, and an answer may blame the sender for what is one recipient's own rule. So two
things are weighed beside the codes: how many different recipients were refused in a row, and whether others were
accepted after a recipient's refusal had accused the account.
"""

from __future__ import annotations

from collections import deque

#: Number of recipients that are remembered because their accusation was disproved.
_MOST_DISPROVED = 100


class Account:
    """Holds what the refusals of one provider say about the account. ``row``: how many in a row speak for it.

    ``refused``: the account counts as refused, until ``restored``.
    """

    __slots__ = ("_accuser", "_disproved", "_messages", "_row", "_targets", "refused")

    def __init__(self, row: int) -> None:
        self._row = row
        self._targets: set[str] = set()
        self._messages: set[str] = set()
        self._accuser = ""
        self._disproved: deque[str] = deque(maxlen=_MOST_DISPROVED)
        self.refused = False

    def rejected(self, target: str, message: str) -> bool:
        """Counts a permanent refusal without proof; returns True if the row is complete: the account is refused.

        Only refusals of different targets in different messages count: one person may have many old push tokens, and
        one token may get many messages.
        """
        self._targets.add(target)
        self._messages.add(message)
        if min(len(self._targets), len(self._messages)) >= self._row:
            self._end_row()
            self.refused = True
        return self.refused

    def accepted(self, target: str) -> None:
        """Ends the row, because a message to ``target`` was accepted; one that is accepted itself was no liar."""
        if self._targets:
            self._end_row()
        if target == self._accuser:
            self._accuser = ""
        if self._disproved and target in self._disproved:
            self._disproved.remove(target)

    def accused(self, target: str) -> bool:
        """Takes an answer that blames the account ('' if no recipient was named).

        Returns False if it came for a ``target`` whose earlier accusation was disproved: it is not believed.
        """
        if target in self._disproved:
            return False
        self._accuser, self.refused = target, True
        return True

    def restored(self) -> None:
        """Says that enough messages were accepted since the account was refused: the accuser's were not among them."""
        if self._accuser:
            self._disproved.append(self._accuser)
        self.cleared()

    def cleared(self) -> None:
        """Forgets everything except the disproved recipients, for example because an operator has decided."""
        self._end_row()
        self._accuser, self.refused = "", False

    def _end_row(self) -> None:
        self._targets.clear()
        self._messages.clear()
