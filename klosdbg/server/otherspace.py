"""Memory as a thread that does not run sees it: through the page tables of its own CR3."""

from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import Mode, Paging, walk

_PAGE = 4096


def read_in_space(target: Target, cr3: int, address: int, size: int) -> bytes | None:
    """Read as much as is mapped from ``address`` on; None where the processor's own view serves."""
    cpu = read_cpu(target)
    mode = _mode(cpu)
    if mode is None or cr3 == cpu.cr3 or target.physical is None:
        return None
    found = b""
    while len(found) < size:
        part = _read_page(target.physical, Paging(mode, cr3), address + len(found))
        if part is None:
            break
        found += part
    return found[:size]


def _mode(cpu: Cpu) -> Mode | None:
    if cpu.paging == "off":
        return None
    return "PSE" if cpu.paging == "32-bit" and cpu.cr4 & 0x10 else cpu.paging


def _read_page(physical: Memory, paging: Paging, address: int) -> bytes | None:
    def read(at: int, size: int) -> bytes | None:
        return physical.read_many([(at, size)])[0]

    place = walk(read, address & 0xFFFF_FFFF_FFFF_FFFF, paging).physical
    if place is None:
        return None
    return read(place, _PAGE - address % _PAGE)
