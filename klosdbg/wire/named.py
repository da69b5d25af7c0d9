"""Symbols that a capture holds: names and linear addresses, without sizes."""

from bisect import bisect_right
from collections.abc import Mapping

_REACH = 0x100000


class NamedAddresses:
    """The names of linear addresses, as a recording kept them."""

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self._addresses = dict(addresses)
        ordered = sorted((address, name) for name, address in addresses.items())
        self._starts = [address for address, _ in ordered]
        self._names = [name for _, name in ordered]

    def address(self, name: str) -> int | None:
        """Look a symbol up."""
        return self._addresses.get(name)

    def name(self, address: int) -> str | None:
        """Name an address by the nearest symbol at or below it, within a mebibyte."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address - self._starts[at] > _REACH:
            return None
        offset = address - self._starts[at]
        return f"{self._names[at]}+{offset:#x}" if offset else self._names[at]

    def names(self) -> list[str]:
        """List every symbol, sorted."""
        return sorted(self._addresses)

    def frame(self, _pc: int) -> tuple[str, int] | None:
        """Say that a recording keeps no call-frame rules."""
        return None
