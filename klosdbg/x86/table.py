"""Descriptor tables: the GDT, an LDT, the IDT, and the real-mode IVT."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from klosdbg.x86.descriptor import (
    Descriptor,
    decode_descriptor,
    decode_gate,
    descriptor_size,
)
from klosdbg.x86.vectors import vector_name

TableKind = Literal["gdt", "ldt", "idt"]
Pieces = Iterable[tuple[int, bytes | None]]
"""Memory as ``(address, bytes)`` in order of address; None where it could not be read."""

_IDT_VECTORS = 256


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, or a run of ``count`` equal entries that begins at ``index``."""

    index: int
    descriptor: Descriptor
    name: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A descriptor table. ``base`` is linear; ``limit`` is the register's: the last valid byte.

    ``entries`` are runs of equal entries, or single ones after ``expanded``; ``missing`` lists the
    index ranges, both ends included, whose memory could not be read; ``cut`` tells that the limit
    ends inside an entry, which the processor then refuses. ``bases`` maps selectors (RPL 0) that
    gates name to the linear bases of their segments.
    """

    kind: TableKind
    base: int
    limit: int
    entries: tuple[Entry, ...]
    missing: tuple[tuple[int, int], ...]
    cut: bool
    entry_size: int = 8
    long_mode: bool = False
    bases: Mapping[int, int] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """How many whole entries lie within the limit (an IDT has 256 at the most)."""
        whole = (self.limit + 1) // self.entry_size
        return min(whole, _IDT_VECTORS) if self.kind == "idt" else whole

    def selector(self, index: int) -> int:
        """Give the selector of an entry: index and table indicator, RPL 0; a vector has none."""
        return index << 3 | (4 if self.kind == "ldt" else 0)

    def expanded(self) -> "Table":
        """Show each slot as an entry of its own."""
        return replace(self, entries=tuple(self._singles()))

    def only(self, index: int) -> "Table | None":
        """Reduce the table to one entry; None where the limit or memory does not reach it."""
        for entry in self.entries:
            if entry.index <= index < entry.index + entry.count:
                return replace(self, entries=(replace(entry, index=index, count=1),), missing=())
        return None

    def _singles(self) -> Iterator[Entry]:
        for entry in self.entries:
            for i in range(entry.index, entry.index + entry.count):
                yield replace(entry, index=i, count=1)


def decode_table(
    kind: TableKind,
    base: int,
    limit: int,
    pieces: Pieces,
    long_mode: bool = False,
    names: Mapping[int, str] | None = None,
) -> Table:
    """Decode a table out of memory. Total: a cut or partly unmapped table decodes as far as it is.

    ``names`` maps indices to names; vectors of an IDT have theirs. A run never joins two names.
    """
    size = 16 if kind == "idt" and long_mode else 8
    table = Table(kind, base, limit, (), (), cut=False, entry_size=size, long_mode=long_mode)
    raw, holes = _gather(base, table.slots * size, pieces)
    missing = tuple((start // size, (end - 1) // size) for start, end in holes)
    decode = _vectors if kind == "idt" else _slots
    singles = (
        Entry(index, descriptor, (names or {}).get(index))
        for index, descriptor in decode(raw, table.slots, long_mode)
        if not any(first <= index <= last for first, last in missing)
    )
    past_the_end = kind == "idt" and table.slots == _IDT_VECTORS
    cut = (limit + 1) % size != 0 and not past_the_end
    entries = tuple(_vector_names(_runs(singles)) if kind == "idt" else _runs(singles))
    return replace(table, entries=entries, missing=missing, cut=cut)


def _gather(base: int, size: int, pieces: Pieces) -> tuple[bytes, list[tuple[int, int]]]:
    raw = bytearray(size)
    holes: list[tuple[int, int]] = []
    position = 0
    for address, piece in pieces:
        start = address - base
        if piece is not None:
            if start > position:
                holes.append((position, start))
            raw[start : start + len(piece)] = piece
            position = start + len(piece)
    if position < size:
        holes.append((position, size))
    return bytes(raw[:size]), [(a, min(b, size)) for a, b in holes if a < size]


def _slots(raw: bytes, count: int, long_mode: bool) -> Iterator[tuple[int, Descriptor]]:
    index = 0
    while index < count:
        at = index * 8
        size = descriptor_size(raw[at : at + 8], long_mode)
        yield index, decode_descriptor(raw[at : at + size], long_mode)
        index += size // 8


def _vectors(raw: bytes, count: int, long_mode: bool) -> Iterator[tuple[int, Descriptor]]:
    size = 16 if long_mode else 8
    for vector in range(count):
        yield vector, decode_gate(raw[vector * size : vector * size + size], long_mode)


def _runs(singles: Iterable[Entry]) -> Iterator[Entry]:
    run: Entry | None = None
    for entry in singles:
        follows = run is not None and entry.index == run.index + run.count
        if run and follows and entry.descriptor == run.descriptor and entry.name == run.name:
            run = replace(run, count=run.count + 1)
        else:
            if run:
                yield run
            run = entry
    if run:
        yield run


def _vector_names(runs: Iterable[Entry]) -> Iterator[Entry]:
    for run in runs:
        yield replace(run, name=vector_name(run.index) if run.count == 1 else None)


@dataclass(frozen=True, slots=True)
class Ivt:
    """The real-mode interrupt vector table: ``(segment, offset)`` of 256 vectors."""

    base: int
    vectors: tuple[tuple[int, int], ...]


def decode_ivt(base: int, raw: bytes) -> Ivt:
    """Decode up to 256 vectors of four bytes each: offset, then segment."""
    words = [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw) & ~3, 2)]
    return Ivt(base, tuple(zip(words[1::2], words[0::2], strict=True)))
