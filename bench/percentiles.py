"""Computes percentiles of measured times, and medians and spreads of rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """Returns the ``percent``-th percentile (1 to 99) of at least two times, in milliseconds, to the microsecond."""
    return round(1000 * quantiles(seconds, n=100, method="inclusive")[percent - 1], 3)


def median_of(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns each figure's median over the rounds, which all have the same figures."""
    return {figure: round(median(one[figure] for one in rounds), 4) for figure in rounds[0]}


@dataclass(frozen=True)
class Ratio:
    """Compares two contestants: the median of the rounds' own ratios, with the smallest and the largest."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return self.shown(1)

    def shown(self, digits: int) -> str:
        """Returns it as text with this number of digits after the point."""
        spread = f" ({self.least:.{digits}f} to {self.most:.{digits}f})"
        return f"{self.median:.{digits}f} x{'' if self.least == self.most else spread}"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Compares round with round: the machine was equally busy for both."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return Ratio(round(median(ratios), 3), round(min(ratios), 3), round(max(ratios), 3))
