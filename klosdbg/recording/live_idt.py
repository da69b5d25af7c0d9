"""Noticing that a guest has loaded another IDT, written its gates, or changed its mode."""

import time

from klosdbg.ports import Target
from klosdbg.read import read_cpu

LOOK = 0.1
"""How often a recorder looks at the tables, in seconds of the host."""

_MOST = 256 * 16


class LiveIdt:
    """The IDT in use, in real mode the IVT, as it was seen last in each mode."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._seen: dict[tuple[bool, bool], tuple[int, bytes | None]] = {}
        self._looked = 0.0

    @property
    def due(self) -> bool:
        """Tell whether it is time to look again."""
        return time.monotonic() - self._looked >= LOOK

    def changed(self) -> bool:
        """Look at a stopped guest: tell whether its table is another one than at the last look."""
        cpu = read_cpu(self._target)
        mode = (cpu.mode in ("real", "unreal"), cpu.long_mode)
        size = min(cpu.idtr.limit + 1, _MOST)
        now = cpu.idtr.base, self._target.linear.read_many([(cpu.idtr.base, size)])[0]
        self._looked = time.monotonic()
        before, self._seen[mode] = self._seen.get(mode), now
        return now != before
