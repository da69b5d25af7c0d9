"""Memory as a thread sees it that does not run here: through the page tables of its own CR3."""

from klosdbg.paged import PagedMemory
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_mapped
from klosdbg.server.threads import GuestThread
from klosdbg.x86.paging import paging_of


def read_as_thread(target: Target, thread: GuestThread, address: int, size: int) -> bytes | None:
    """Read as much as is mapped from ``address`` on; None where the processor's own view serves."""
    here = read_cpu(target)
    cpu = thread.cpu or here
    paging = paging_of(cpu, thread.saved["cr3"] if thread.saved else None)
    if target.physical is None or paging == paging_of(here):
        return None
    return read_mapped(PagedMemory(target.physical, paging), address, size)
