"""The region of linear memory that lldb asks for."""

import re

from klosdbg.errors import CommandError
from klosdbg.paged import PageTables
from klosdbg.read import read_cpu
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.reading import BadRequest
from klosdbg.x86.paging import PAGE, Paging, Walk, is_canonical, paging_of

_ASKED = re.compile(rb"qMemoryRegionInfo:([0-9a-fA-F]{1,16})")
_MOST_PAGES = 4096


def describe_region(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``qMemoryRegionInfo``: the pages from an address on that have the same rights.

    Raise ``CommandError`` where page tables cannot be read.
    """
    match = _ASKED.fullmatch(payload)
    if not match:
        raise BadRequest
    address, top = int(match[1], 16), hub.layout.address_mask + 1
    if address >= top:
        raise BadRequest
    target = client.session.target
    thread = hub.thread(client)
    cpu = thread.cpu or read_cpu(target)
    paging = paging_of(cpu, thread.saved["cr3"] if thread.saved else None)
    if paging is None:
        return _region(0, top, "rwx")
    if target.physical is None:
        raise CommandError(f"{target.name} has no physical memory to read page tables from")
    return _same_rights(PageTables(target.physical), paging, address & -PAGE, top)


def _same_rights(tables: PageTables, paging: Paging, start: int, top: int) -> bytes:
    found = tables.walk(start, paging)
    rights, end = _rights(found), _end(found)
    for _ in range(_MOST_PAGES):
        if end >= top:
            break
        found = tables.walk(end, paging)
        if _rights(found) != rights:
            break
        end = _end(found)
    return _region(start, min(end, top), rights)


def _rights(found: Walk) -> str:
    if found.physical is None:
        return ""
    return "r" + ("w" if found.writable else "") + ("" if found.nx else "x")


def _end(found: Walk) -> int:
    """Give the first address after the page, or after all that the missing entry could map."""
    paging, mode = found.paging, found.paging.mode
    if paging.levels > 3 and not is_canonical(found.linear, mode):
        return (1 << 64) - (1 << (56 if mode == "5-level" else 47))
    if found.page_size:
        span = found.page_size
    else:
        span = paging.span(paging.levels - len(found.steps) + (found.unreadable is None))
    return (found.linear | span - 1) + 1


def _region(start: int, end: int, rights: str) -> bytes:
    permissions = f"permissions:{rights};" if rights else ""
    return f"start:{start:x};size:{end - start:x};{permissions}".encode()
