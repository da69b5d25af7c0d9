"""Cutting fields out of numbers, with the manual's bit numbers."""


def bits(raw: int, high: int, low: int) -> int:
    """Take bits ``high`` to ``low``, both included, as the manual numbers them."""
    return (raw >> low) & ((1 << (high - low + 1)) - 1)


def bit(raw: int, position: int) -> bool:
    """Tell whether one bit is set."""
    return bool((raw >> position) & 1)
