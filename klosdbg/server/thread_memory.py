"""Memory as a thread sees it that does not run here: through the page tables of its own CR3."""

from klosdbg.models import Address
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_memory
from klosdbg.server.threads import GuestThread
from klosdbg.x86.paging import Paging, paging_of, walk

_PAGE = 4096


def read_as_thread(target: Target, thread: GuestThread, address: int, size: int) -> bytes | None:
    """Read as much as is mapped from ``address`` on; None where the processor's own view serves."""
    here = read_cpu(target)
    cpu = thread.cpu or here
    paging = paging_of(cpu, thread.saved["cr3"] if thread.saved else None)
    if target.physical is None or paging == paging_of(here):
        return None
    if paging is None:
        return read_memory(target, Address(address, "physical"), size, clip=True)
    found = b""
    while len(found) < size:
        part = _read_page(target.physical, paging, address + len(found))
        if part is None:
            break
        found += part
    return found[:size]


def _read_page(physical: Memory, paging: Paging, address: int) -> bytes | None:
    def read(at: int, size: int) -> bytes | None:
        return physical.read_many([(at, size)])[0]

    place = walk(read, address & 0xFFFF_FFFF_FFFF_FFFF, paging).physical
    if place is None:
        return None
    return read(place, _PAGE - address % _PAGE)
