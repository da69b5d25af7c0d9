"""Symbols and call-frame rules out of ELF images."""

import io
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from klosdbg.errors import DataError
from klosdbg.wire.harmless import harmless

if TYPE_CHECKING:
    from klosdbg.wire.callframes import CallFrames
    from klosdbg.wire.lines import SourceLines

_SHF_ALLOC = 2


class _Symbol(NamedTuple):
    address: int
    rank: int
    size: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """The names of linear addresses, out of one image or several."""

    images: tuple["Image", ...]

    def address(self, name: str) -> int | None:
        """Look up a symbol, or a line of source as ``file.c:12``; the first image with it wins."""
        found = (image.address(name) for image in self.images)
        return next((address for address in found if address is not None), None)

    def name(self, address: int) -> str | None:
        """Name an address as ``symbol`` or ``symbol+0x10``, or None outside all symbols."""
        found = (image.name(address) for image in self.images)
        return next((name for name in found if name is not None), None)

    def names(self) -> list[str]:
        """List every symbol, sorted."""
        return sorted({name for image in self.images for name in image.by_name})

    def frame(self, pc: int) -> tuple[str, int] | None:
        """Say where the caller's frame (CFA) is at ``pc``: register and offset, from DWARF CFI."""
        found = (image.frame(pc) for image in self.images)
        return next((rule for rule in found if rule is not None), None)


class Image:
    """One ELF image's symbols; ``base`` is added to every address in the file."""

    def __init__(self, raw: bytes, source: str, base: int = 0) -> None:
        self.raw, self.source, self.base = raw, source, base
        self._elf = _open(raw, source)
        self.entry: int = self._elf["e_entry"] + base
        self._symbols = _bounded(sorted(_symbols(self._elf, base)))
        self._addresses = [symbol.address for symbol in self._symbols]
        self.by_name = {symbol.name: symbol.address for symbol in reversed(self._symbols)}

    def name(self, address: int) -> str | None:
        """Name an address by the nearest symbol at or below it that reaches it."""
        i = bisect_right(self._addresses, address) - 1
        while i >= 0:
            symbol = self._symbols[i]
            if address < symbol.end:
                offset = address - symbol.address
                return f"{symbol.name}+{offset:#x}" if offset else symbol.name
            if address - symbol.address > 0x100000:
                return None
            i -= 1
        return None

    def address(self, name: str) -> int | None:
        """Look up a symbol, or a line of source as ``file.c:12``."""
        file, colon, line = name.rpartition(":")
        if colon and line.isdecimal():
            return self._lines.address(file, int(line))
        return self.by_name.get(name)

    @cached_property
    def _lines(self) -> "SourceLines":
        from klosdbg.wire.lines import SourceLines

        return SourceLines(self._elf, self.base)

    def frame(self, pc: int) -> tuple[str, int] | None:
        """Give the CFA rule at ``pc`` out of ``.debug_frame`` or ``.eh_frame``."""
        return self._frames.rule(pc)

    @cached_property
    def _frames(self) -> "CallFrames":
        from klosdbg.wire.callframes import CallFrames

        return CallFrames(self._elf, self.base)


def _bounded(symbols: list[_Symbol]) -> list[_Symbol]:
    """End each symbol without a size where the next one begins, at least a byte on."""
    starts = sorted({symbol.address for symbol in symbols})
    following = dict(itertools.pairwise(starts))
    return [
        symbol if symbol.size else symbol._replace(end=_end(symbol, following))
        for symbol in symbols
    ]


def _end(symbol: _Symbol, following: dict[int, int]) -> int:
    end = min(symbol.end, following.get(symbol.address, symbol.end))
    return max(end, symbol.address + 1)


def _open(raw: bytes, source: str) -> Any:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return ELFFile(io.BytesIO(raw))
    except ELFError as error:
        raise DataError(
            f"{source} is not an ELF image ({str(error).lower()}): give an ELF file; "
            "'--image none -- ARGS' boots anything else"
        ) from None


def _symbols(elf: Any, base: int) -> Iterator[_Symbol]:
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.sections import SymbolTableSection

    try:
        sections = [(s["sh_addr"], s["sh_size"], s["sh_flags"]) for s in elf.iter_sections()]
        for section in elf.iter_sections():
            if isinstance(section, SymbolTableSection):
                yield from _named(section, sections, base)
    except (ELFError, ConstructError, UnicodeDecodeError) as error:
        raise DataError(f"the image's symbol table is damaged: {error}") from None


def _named(table: Any, sections: list[tuple[int, int, int]], base: int) -> Iterator[_Symbol]:
    for entry in table.iter_symbols():
        index, kind = entry["st_shndx"], entry["st_info"]["type"]
        if not entry.name or kind in ("STT_SECTION", "STT_FILE", "STT_TLS"):
            continue
        if not isinstance(index, int) or index >= len(sections):
            continue
        section_address, section_size, flags = sections[index]
        if not flags & _SHF_ALLOC:
            continue
        address, size = entry["st_value"], entry["st_size"]
        end = address + size if size else section_address + section_size
        rank = (kind in ("STT_FUNC", "STT_OBJECT")) * 2 + (entry["st_info"]["bind"] == "STB_GLOBAL")
        yield _Symbol(address + base, rank, size, end + base, harmless(entry.name))
