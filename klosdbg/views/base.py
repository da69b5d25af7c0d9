"""The two views of every model: ``text`` for a terminal, ``data`` for JSON.

A view family registers both for its models::

    @text.register
    def _(model: Tss, style: Style) -> str: ...

    @data.register
    def _(model: Tss, style: Style) -> dict[str, object]: ...

Views never read memory; all that they know beyond the model is the ``Style``.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch

WIDTH = 80
"""What every text view fits into, in columns."""
_ANSI = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_PAINTED = re.compile(r"\x1b\[\d*m")


def _no_symbol(_address: int) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Style:
    """How to show things: the symbol of a linear address, and whether to use colour."""

    symbol: Callable[[int], str | None] = _no_symbol
    color: bool = False

    def paint(self, color: str, string: str) -> str:
        """Colour a string (bold, dim, red, green, yellow, cyan) where colour is on."""
        return f"\x1b[{_ANSI[color]}m{string}\x1b[0m" if self.color and string else string

    def address(self, address: int, digits: int = 8) -> str:
        """Show a linear address, with ``symbol+offset`` where one is known."""
        name = self.symbol(address)
        shown = f"{address:#0{digits + 2}x}"
        return f"{shown} {self.paint('cyan', f'<{name}>')}" if name else shown


@singledispatch
def text(model: object, style: Style) -> str:
    """Show a model as terminal text: aligned, at most 80 columns, without a final newline."""
    raise TypeError(f"no text view for {type(model).__name__}")


@singledispatch
def data(model: object, style: Style) -> dict[str, object]:
    """Show a model as a JSON-able document with a ``schema``; integers over 53 bits are strings."""
    raise TypeError(f"no data view for {type(model).__name__}")


def columns(rows: Iterable[Sequence[str]], indent: str = "", right: str = "") -> str:
    """Align rows of cells two spaces apart; ``right`` holds an ``r`` for each right-aligned column.

    A row's last cell may run on over the columns of other rows. ANSI colour in a cell does not
    disturb the alignment.
    """
    table = [list(row) for row in rows]
    widths: dict[int, int] = {}
    for row in table:
        for i, cell in enumerate(row):
            last = i == len(row) - 1 and right[i : i + 1] != "r"
            widths[i] = max(widths.get(i, 0), 0 if last else visible_length(cell))
    return "\n".join(indent + _line(row, widths, right) for row in table)


def visible_length(cell: str) -> int:
    """Count the characters that a terminal shows, ANSI colour left out."""
    return len(_PAINTED.sub("", cell) if "\x1b" in cell else cell)


def _line(row: Sequence[str], widths: dict[int, int], right: str) -> str:
    cells = []
    for i, cell in enumerate(row):
        gap = " " * (widths[i] - visible_length(cell))
        cells.append(gap + cell if right[i : i + 1] == "r" else cell + gap)
    return "  ".join(cells).rstrip()


def printable(raw: bytes) -> str:
    """Make guest bytes safe for a terminal: no control character survives but newline and tab."""
    decoded = raw.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in decoded)


def address_data(value: int) -> int | str:
    """Give an address to JSON: a number, or where 32 bits do not hold it, its ``0x`` string."""
    return value if value < 1 << 32 else hex64(value)


def hex64(value: int) -> str:
    """Show a value that may exceed 53 bits as the ``0x`` string that JSON carries."""
    return f"{value:#x}"
