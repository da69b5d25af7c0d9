"""The model of guessing DSOS."""

from dataclasses import dataclass
from typing import Literal

from klosdbg.klos.statistics import geometric_quartiles, interval
from klosdbg.x86.findings import FindsFaults

CONFIDENCE = 0.999
PAPER = 1 / 16382 + 1 / 16381 + 1 / 16380
_GUESSES = 3


@dataclass(frozen=True, slots=True)
class Guesses(FindsFaults):
    """Rounds of three guesses: ``waits`` counts the rounds up to each success, it included."""

    source: Literal["guest", "simulation"]
    seed: int
    rounds: int
    slots: int
    waits: tuple[int, ...]

    @property
    def rate(self) -> float:
        """The share of rounds with a success."""
        return len(self.waits) / self.rounds

    @property
    def exact(self) -> float:
        """The probability of a round: three different guesses out of all slots."""
        return _GUESSES / self.slots

    @property
    def interval(self) -> tuple[float, float]:
        """The 99.9 % confidence interval of that probability, from what was seen."""
        return interval(len(self.waits), self.rounds, CONFIDENCE)

    @property
    def agrees(self) -> bool:
        """Tell whether the interval contains the exact probability."""
        low, high = self.interval
        return low <= self.exact <= high

    @property
    def agrees_with_paper(self) -> bool:
        """Tell whether the interval contains the paper's probability."""
        low, high = self.interval
        return low <= PAPER <= high

    @property
    def quartiles(self) -> tuple[int, int, int]:
        """The waits that the geometric law puts a quarter, a half, three quarters of below."""
        return geometric_quartiles(self.exact)

    @property
    def quarters(self) -> tuple[int, int, int, int]:
        """How many waits fell into each quarter of the geometric law."""
        first, middle, last = self.quartiles
        groups = [sum(w <= bound for w in self.waits) for bound in (first, middle, last)]
        total = len(self.waits)
        return groups[0], groups[1] - groups[0], groups[2] - groups[1], total - groups[2]

    @property
    def found_fault(self) -> bool:
        """Tell whether chance cannot explain how far the rate is from the exact one."""
        return not self.agrees
