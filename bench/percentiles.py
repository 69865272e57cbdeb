"""Percentiles of measured times, medians of rounds."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """The ``percent``-th percentile (1 to 99) of at least two times, in milliseconds, to the microsecond."""
    return round(1000 * quantiles(seconds, n=100, method="inclusive")[percent - 1], 3)


def median_of(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each figure's median over the rounds, which all have the same figures."""
    return {figure: round(median(one[figure] for one in rounds), 4) for figure in rounds[0]}
