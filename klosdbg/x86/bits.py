"""Cutting fields out of numbers, with the manual's bit numbers."""

from collections.abc import Iterable


def bits(raw: int, high: int, low: int) -> int:
    """Take bits ``high`` to ``low``, both included, as the manual numbers them."""
    return (raw >> low) & ((1 << (high - low + 1)) - 1)


def bit(raw: int, position: int) -> bool:
    """Tell whether one bit is set."""
    return bool((raw >> position) & 1)


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Join ascending numbers into ``(first, last)`` ranges."""
    joined: list[tuple[int, int]] = []
    for number in numbers:
        if joined and joined[-1][1] == number - 1:
            joined[-1] = (joined[-1][0], number)
        else:
            joined.append((number, number))
    return tuple(joined)
