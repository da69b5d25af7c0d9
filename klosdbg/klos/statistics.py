"""The little statistics that guessing needs: intervals, and whether counts look even."""

import math
from collections.abc import Sequence
from statistics import NormalDist


def interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Give Wilson's confidence interval of a probability; all of [0, 1] without a trial."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, square = successes / trials, z * z / trials
    middle = (rate + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def even_p(counts: Sequence[int]) -> float:
    """Give the p-value of the chi-square test that counts come from equal bins.

    By the approximation of Wilson and Hilferty, good for the dozens of bins that are used here;
    1.0 where there is nothing to test.
    """
    total, freedom = sum(counts), len(counts) - 1
    if not total or freedom < 1:
        return 1.0
    expected = total / len(counts)
    square = sum((count - expected) ** 2 for count in counts) / expected
    spread = 2 / (9 * freedom)
    z = ((square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2)) / 2


def geometric_quartiles(probability: float) -> tuple[int, int, int]:
    """Give the numbers of trials by which a quarter, a half, three quarters have succeeded."""
    base = math.log1p(-probability)
    first, middle, last = (math.ceil(math.log1p(-share) / base) for share in (0.25, 0.5, 0.75))
    return first, middle, last
