"""What is named, and how far each name reaches: the symbols of a capture."""

import itertools
from collections.abc import Iterator

from klosdbg.ports import Symbols

_REACH = 0x100000


def named_ranges(symbols: Symbols) -> Iterator[tuple[str, int, int]]:
    """List names with the linear addresses that they begin and end at.

    Of several names of one address, the one that is shown comes first.
    """
    found: dict[int, list[str]] = {}
    for name in symbols.names():
        address = symbols.address(name)
        if address is not None:
            found.setdefault(address, []).append(name)
    starts = sorted(found)
    for start, following in itertools.zip_longest(starts, starts[1:]):
        shown = symbols.name(start)
        names = sorted(found[start], key=lambda name: name != shown)
        top = min(start + _REACH, following or start + _REACH)
        end = _end(symbols, names[0], start, top)
        yield from ((name, start, end) for name in names)


def _end(symbols: Symbols, name: str, start: int, top: int) -> int:
    """Find the first address in ``start`` to ``top`` that no longer has the name."""
    low, high = start, top
    while low < high:
        middle = (low + high) // 2
        here = symbols.name(middle)
        if here is not None and here.partition("+")[0] == name:
            low = middle + 1
        else:
            high = middle
    return low
