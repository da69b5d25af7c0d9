"""What was read at one stop, and need not be read again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from klosdbg.x86.cpu import Cpu

T = TypeVar("T")


@dataclass(slots=True)
class StopCache:
    """What was read at one stop. Registers are read anew when the guest has run: that ends it."""

    _cpu: Cpu | None = None
    _kept: dict[str, Any] = field(default_factory=dict)

    def get(self, cpu: Cpu, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` made under ``key`` at this stop, making it the first time."""
        if cpu is not self._cpu:
            self._cpu, self._kept = cpu, {}
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept
