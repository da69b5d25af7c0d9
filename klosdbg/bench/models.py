"""Models of klosdbg's own speed: ratios, and what is wanted of them."""

from dataclasses import dataclass

from klosdbg.x86.findings import FindsFaults


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison: ``ratio`` of two times, and the least or the most that is wanted of it.

    None where it could not be measured, of which ``what`` says the reason.
    """

    name: str
    what: str
    ratio: float | None
    wanted: float
    at_least: bool = True

    @property
    def holds(self) -> bool:
        """Tell whether the ratio is what is wanted, as far as it is known."""
        if self.ratio is None:
            return True
        return self.ratio >= self.wanted if self.at_least else self.ratio <= self.wanted


@dataclass(frozen=True, slots=True)
class Bench(FindsFaults):
    """All comparisons of one run."""

    measured: tuple[Measured, ...]

    @property
    def found_fault(self) -> bool:
        """Tell whether one of them is not what is wanted."""
        return not all(m.holds for m in self.measured)
