"""A core of QEMU's ``dump-guest-memory`` as a target: physical memory, and the registers' notes."""

import contextlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klosdbg.errors import DataError
from klosdbg.paged import PagedMemory
from klosdbg.ports import Target
from klosdbg.wire.elfnotes import NAME, decode_qemu_note
from klosdbg.wire.stored import StoredMemory
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import paging_of

_MAGIC = b"\x7fELF"
_MACHINES = ("EM_386", "EM_X86_64")
_MOST_SEGMENTS = 4096
_NOT_A_DUMP = "it is no core that QEMU's 'dump-guest-memory' wrote"


def is_elf(path: Path) -> bool:
    """Tell whether a file is an ELF file; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def open_dump(path: Path) -> Target:
    """Open a core, or raise ``DataError``. Nothing in it can run or be written."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            cpu, memory = _parse(file, memoryview(content))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is empty"
        raise DataError(f"cannot open {path}: {reason.lower()}") from None
    except DataError as error:
        raise DataError(f"cannot open {path}: {error}") from None
    physical = StoredMemory("physical", memory)
    return Target(
        name=path.name,
        registers=_Held(cpu),
        linear=PagedMemory(physical, paging_of(cpu)),
        physical=physical,
        address_bits=64 if cpu.long_mode else 32,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    cpu: Cpu

    def read(self) -> Cpu:
        """Give the registers of the core."""
        return self.cpu


def _parse(file: Any, content: memoryview) -> tuple[Cpu, dict[int, bytes | memoryview]]:
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(file)
        if elf["e_type"] != "ET_CORE" or elf["e_machine"] not in _MACHINES:
            raise DataError(f"{_NOT_A_DUMP}: an ELF file, but no core of an x86 machine")
        if elf.num_segments() > _MOST_SEGMENTS:
            raise DataError(f"it is refused: more than {_MOST_SEGMENTS} segments")
        segments = list(elf.iter_segments())
        note = next(_notes(segments), None)
        if note is None:
            raise DataError(f"{_NOT_A_DUMP}: it has no QEMU note")
        return decode_qemu_note(note, elf["e_machine"] == "EM_X86_64"), _loads(segments, content)
    except (ELFError, ConstructError, UnicodeDecodeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:50]
        raise DataError(f"the core is damaged: {reason or type(error).__name__}") from None


def _notes(segments: list[Any]) -> Iterator[bytes]:
    for segment in segments:
        if segment["p_type"] == "PT_NOTE":
            for note in segment.iter_notes():
                if note["n_name"] == NAME:
                    raw = note["n_descdata"]
                    yield raw if isinstance(raw, bytes) else raw.encode("latin-1")


def _loads(segments: list[Any], content: memoryview) -> dict[int, bytes | memoryview]:
    loads: dict[int, bytes | memoryview] = {}
    end = 0
    for segment in sorted(segments, key=lambda s: int(s["p_paddr"])):
        address, offset, size = (int(segment[n]) for n in ("p_paddr", "p_offset", "p_filesz"))
        if segment["p_type"] == "PT_LOAD" and size and address >= end:
            with contextlib.suppress(ValueError):
                loads[address] = content[offset : offset + size]
                end = address + len(loads[address])
    return loads
