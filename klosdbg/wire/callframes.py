"""Call-frame rules (DWARF CFI) out of an ELF image: where the caller's frame is."""

from collections.abc import Iterator
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.callframe import FDE, CallFrameInfo

from klosdbg.errors import DataError

_REGISTERS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")


class _CallFrames(CallFrameInfo):
    """Accept ``.cfi_signal_frame`` in ``.debug_frame`` as well, which elftools does not."""

    def _parse_cie_augmentation(self, header: Any, structs: Any) -> Any:
        if header.get("augmentation") == b"S":
            return b"", {}
        return super()._parse_cie_augmentation(header, structs)


class CallFrames:
    """The call-frame entries of one image; ``base`` is added to every address in the file."""

    def __init__(self, elf: Any, base: int) -> None:
        self._base = base
        try:
            self._entries = list(_entries(elf))
        except (AssertionError, DWARFError, ELFError, ConstructError) as error:
            raise DataError(f"the image's call-frame information is damaged: {error}") from None

    def rule(self, pc: int) -> tuple[str, int] | None:
        """Give the CFA at ``pc`` as a register and an offset; None where no such rule holds."""
        pc -= self._base
        for entry in self._entries:
            start = entry["initial_location"]
            if start <= pc < start + entry["address_range"]:
                rows = [row for row in entry.get_decoded().table if row["pc"] <= pc]
                return _cfa(rows[-1]["cfa"]) if rows else None
        return None


def _entries(elf: Any) -> Iterator[Any]:
    if not elf.has_dwarf_info():
        return
    dwarf = elf.get_dwarf_info()
    sections = ((dwarf.debug_frame_sec, False), (dwarf.eh_frame_sec, True))
    for section, is_eh in sections:
        if section is not None:
            frames = _CallFrames(
                section.stream, section.size, section.address, dwarf.structs, for_eh_frame=is_eh
            )
            yield from (entry for entry in frames.get_entries() if isinstance(entry, FDE))


def _cfa(rule: Any) -> tuple[str, int] | None:
    if rule.reg is None or rule.reg >= len(_REGISTERS):
        return None
    return _REGISTERS[rule.reg], rule.offset
