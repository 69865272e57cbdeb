"""Percentiles of measured times."""

from collections.abc import Sequence
from statistics import quantiles


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """The ``percent``-th percentile (1 to 99) of at least two times, in milliseconds, to the microsecond."""
    return round(1000 * quantiles(seconds, n=100, method="inclusive")[percent - 1], 3)
