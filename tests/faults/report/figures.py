"""Stores everything that a run has shown in a file, and merges a later run of its broken parts into it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.faults.harness.scale import FACTOR
from tests.faults.harness.trial import Result
from tests.faults.mutations.trial import Verdict


@dataclass(frozen=True)
class Figures:
    """Holds the results of a run. ``machine`` is the return value of ``machine.described``; ``took_s`` is the length of
    the run in seconds.
    """

    seed: int
    took_s: float
    machine: dict[str, str]
    results: list[Result]
    verdicts: list[Verdict]

    @property
    def is_well(self) -> bool:
        """Returns True if every promise was kept and every deliberate defect caught."""
        return not any(r.broken for r in self.results) and all(v.caught_by for v in self.verdicts)

    def to_json(self) -> str:
        figures = {
            "seed": self.seed,
            "factor": FACTOR,
            "took_s": round(self.took_s, 1),
            "machine": self.machine,
            "results": [asdict(result) for result in self.results],
            "mutations": [asdict(verdict) for verdict in self.verdicts],
        }
        return json.dumps(figures, indent=1) + "\n"

    def repeated(self, again: Figures) -> Figures:
        """Returns the figures with the runs of ``again`` in place of the same ones here; each replaced run keeps its
        first result as a note.
        """
        results = {(r.name, r.seed): r for r in again.results}
        verdicts = {v.name: v for v in again.verdicts}
        commit = again.machine.get("commit", "unknown")

        def newer(old: Result) -> Result:
            new = results.get((old.name, old.seed))
            if new is None:
                return old
            return replace(new, notes=[*new.notes, f"run again at commit {commit}; at first: {'; '.join(old.broken)}"])

        return replace(
            self,
            took_s=self.took_s + again.took_s,
            results=[newer(result) for result in self.results],
            verdicts=[verdicts.get(verdict.name, verdict) for verdict in self.verdicts],
        )


def read_figures(file: Path) -> Figures:
    """Reads a file that ``--json`` wrote. Raises OSError, or ValueError that names what is missing."""
    figures = json.loads(file.read_text())
    try:
        return Figures(
            figures["seed"],
            figures["took_s"],
            figures["machine"],
            [Result(**result) for result in figures["results"]],
            [Verdict(**verdict) for verdict in figures["mutations"]],
        )
    except (KeyError, TypeError) as exc:
        raise ValueError(f"{file} was not written by ./notify prove --json: {exc}") from exc
