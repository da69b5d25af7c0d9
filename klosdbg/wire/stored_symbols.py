"""Symbols that a capture holds: names, and the linear addresses that they reach."""

from bisect import bisect_right
from collections.abc import Mapping


class NamedAddresses:
    """The names of linear addresses as a capture kept them: each with its start and its end."""

    def __init__(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        self._ranges = dict(ranges)
        shown: dict[int, tuple[int, str]] = {}
        for name, (start, end) in ranges.items():
            shown.setdefault(start, (end, name))
        self._starts = sorted(shown)
        self._shown = [shown[start] for start in self._starts]

    def address(self, name: str) -> int | None:
        """Look a symbol up."""
        return self._ranges[name][0] if name in self._ranges else None

    def name(self, address: int) -> str | None:
        """Name an address by the nearest symbol at or below it that reaches it."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._shown[at][0]:
            return None
        offset, name = address - self._starts[at], self._shown[at][1]
        return f"{name}+{offset:#x}" if offset else name

    def names(self) -> list[str]:
        """List every symbol, sorted."""
        return sorted(self._ranges)

    def frame(self, _pc: int) -> tuple[str, int] | None:
        """Say that a recording keeps no call-frame rules."""
        return None
