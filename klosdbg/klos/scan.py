"""Searching physical memory for ``klos_info`` in an image without symbols."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.abi import KlosArray, KlosInfo
from klosdbg.klos.constants import Flag
from klosdbg.klos.layout import decode, members, size_of
from klosdbg.ports import Memory, Target
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import PAGE

MAGIC = b"KLOSINFO"
SEARCHED = 64 << 20
_ALIGNMENT = 16
_REQUEST = 64 << 10
_BATCH = 16
_TOP = 1 << 32
_ELF_MAGIC = b"\x7fELF\x01\x01\x01"
_ELF_HEADER = struct.Struct("<28xI10xHH6x")
_PROGRAM_HEADER = struct.Struct("<8I")
_LOAD = 1
_MOST_SEGMENTS = 64
_VERSIONS = 0x10000
_PAGING = 1 << 31
_INFO_SIZE = size_of(KlosInfo)


@dataclass(frozen=True, slots=True)
class _ElfCopy:
    """An ELF file in memory: its physical address, and ``(offset, loads at, size)`` of segments."""

    address: int
    segments: tuple[tuple[int, int, int], ...]

    def holds(self, address: int) -> bool:
        """Tell whether an address is in the file's bytes, and not where they are loaded."""
        at = address - self.address
        return any(
            offset <= at < offset + size and physical + at - offset != address
            for offset, physical, size in self.segments
        )


def scan(target: Target, memory: Memory) -> int:
    """Return the physical address of ``klos_info``, or raise ``CommandError``.

    The first candidate whose GDT and IDT are the processor's wins, then one that makes sense, then
    one that has not booted, which is all there is before paging is on. Bytes of an ELF file that
    merely lies in memory are no candidate.
    """
    cpu = target.registers.read()
    ranked: list[tuple[int, int]] = []
    for at in _candidates(memory):
        info = _sensible(memory, at)
        if info is not None:
            ranked.append((_rank(info, cpu), at))
            if ranked[-1][0] == 0:
                break
    if not ranked:
        raise CommandError(
            f"no KLOS found: neither the symbol klos_info, nor the magic KLOSINFO in the first "
            f"{SEARCHED >> 20} MiB of physical memory (is another system running?)"
        )
    return min(ranked)[1]


def _rank(info: KlosInfo, cpu: Cpu) -> int:
    if not info.flags & Flag.BOOTED:
        return 2 if cpu.cr0 & _PAGING else 0
    return 0 if (info.gdt, info.idt) == (cpu.gdtr.base, cpu.idtr.base) else 1


def _candidates(memory: Memory) -> Iterator[int]:
    copies: list[_ElfCopy] = []
    for start, raw in _chunks(memory):
        for at, magic in _finds(raw, start):
            if magic == _ELF_MAGIC:
                copies.append(_elf_copy(memory, at))
            elif not any(copy.holds(at) for copy in copies):
                yield at


def _chunks(memory: Memory) -> Iterator[tuple[int, bytes]]:
    for start in range(0, SEARCHED, _REQUEST * _BATCH):
        requests = [(start + i * _REQUEST, _REQUEST) for i in range(_BATCH)]
        read = memory.read_many(requests)
        if all(raw is None for raw in read):
            return
        for (at, _), raw in zip(requests, read, strict=True):
            if raw is not None:
                yield at, raw


def _finds(raw: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    places = [
        (at, magic)
        for magic in (MAGIC, _ELF_MAGIC)
        for at in _occurrences(raw, magic)
        if at % _ALIGNMENT == 0
    ]
    yield from ((start + at, magic) for at, magic in sorted(places))


def _occurrences(raw: bytes, magic: bytes) -> Iterator[int]:
    at = raw.find(magic)
    while at >= 0:
        yield at
        at = raw.find(magic, at + 1)


def _elf_copy(memory: Memory, address: int) -> _ElfCopy:
    try:
        offset, size, count = _ELF_HEADER.unpack(memory.read(address, _ELF_HEADER.size))
        if size != _PROGRAM_HEADER.size or count > _MOST_SEGMENTS:
            return _ElfCopy(address, ())
        headers = _PROGRAM_HEADER.iter_unpack(memory.read(address + offset, size * count))
    except KlosdbgError:
        return _ElfCopy(address, ())
    return _ElfCopy(address, tuple((h[1], h[3], h[4]) for h in headers if h[0] == _LOAD))


def _sensible(memory: Memory, at: int) -> KlosInfo | None:
    try:
        info = decode(KlosInfo, memory.read(at, _INFO_SIZE))
    except KlosdbgError:
        return None
    if not (0 < info.version < _VERSIONS and len(MAGIC) < info.size <= PAGE):
        return None
    booted = info.flags & Flag.BOOTED
    return info if (_makes_sense(info, at) if booted else at % PAGE == 0) else None


def _makes_sense(info: KlosInfo, at: int) -> bool:
    tables = (info.gdt, info.ldt, info.idt, info.tss)
    arrays = (getattr(info, m.name) for m in members(KlosInfo) if m.nested is KlosArray)
    return (
        info.os_base % PAGE == 0
        and info.app_base < info.app_top <= info.os_base
        and info.os_base + at + _INFO_SIZE <= _TOP
        and at + _INFO_SIZE <= info.physical_size
        and all(table >= info.os_base for table in tables)
        and all(array.count * array.entry_size < _TOP for array in arrays)
        and all((info.csos, info.dsapp, info.dsos, info.core_code, info.core_data))
    )
