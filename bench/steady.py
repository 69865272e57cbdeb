"""Measures rate and processor time of the steady middle of a run, without the start-up and the last stragglers."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import procfs
from bench.errors import BenchFailed
from bench.processes import Child

#: The section that is measured, as shares of all messages, is the same for every contestant.
FIRST, LAST = 0.10, 0.95
_SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True)
class Sample:
    at_s: float
    delivered: int
    cpu_s: dict[str, float]


@dataclass(frozen=True)
class Steady:
    """Holds ``per_s``, deliveries per second of wall time; ``cpu_ms``, user and system time per message, by group."""

    per_s: float
    cpu_ms: dict[str, float]


def watch(
    count: int,
    delivered: Callable[[], int],
    groups: Mapping[str, Sequence[int]],
    deadline_s: float,
    workers: list[Child],
) -> list[Sample]:
    """Samples until ``count`` are delivered; ``groups`` names the process trees to time, by their roots.

    Raises BenchFailed if the time runs out or a worker dies.
    """
    end = time.monotonic() + deadline_s
    samples = [_sample(delivered, groups)]
    while samples[-1].delivered < count:
        for worker in workers:
            worker.check_alive()
        if time.monotonic() > end:
            tails = "\n".join(f"--- {worker.name}\n{worker.tail()}" for worker in workers)
            raise BenchFailed(f"{samples[-1].delivered} of {count} delivered in {deadline_s:g} s\n{tails}")
        time.sleep(_SAMPLE_EVERY_S)
        samples.append(_sample(delivered, groups))
    return samples


def steady(samples: Sequence[Sample], count: int) -> Steady:
    """Returns the figures of the section between the first samples past FIRST and LAST of ``count``."""
    first = next(sample for sample in samples if sample.delivered >= FIRST * count)
    last = next(sample for sample in samples if sample.delivered >= LAST * count)
    done = last.delivered - first.delivered
    if done <= 0:
        raise BenchFailed(f"{count} messages are too few to measure: they passed between two samples")
    return Steady(
        per_s=done / (last.at_s - first.at_s),
        cpu_ms={group: 1000 * (last.cpu_s[group] - first.cpu_s[group]) / done for group in last.cpu_s},
    )


def _sample(delivered: Callable[[], int], groups: Mapping[str, Sequence[int]]) -> Sample:
    return Sample(
        at_s=time.monotonic(),
        delivered=delivered(),
        cpu_s={group: sum(procfs.cpu_s(procfs.tree(root)) for root in roots) for group, roots in groups.items()},
    )
