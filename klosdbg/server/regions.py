"""The region of linear memory that lldb asks for."""

import re

from klosdbg.errors import CommandError
from klosdbg.ports import Memory
from klosdbg.read import read_cpu
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.reading import BadRequest
from klosdbg.x86.paging import LEVELS, Paging, Walk, is_canonical, paging_of, walk

_ASKED = re.compile(rb"qMemoryRegionInfo:([0-9a-fA-F]{1,16})")
_PAGE = 4096
_MOST_PAGES = 4096


def describe_region(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``qMemoryRegionInfo``: the pages from an address on that have the same rights."""
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
    return _same_rights(_Tables(target.physical), paging, address & -_PAGE, top)


class _Tables:
    """Paging structures, each page of which is read once."""

    def __init__(self, physical: Memory) -> None:
        self._physical = physical
        self._read: dict[int, bytes | None] = {}

    def read(self, address: int, size: int) -> bytes | None:
        page, offset = address & -_PAGE, address % _PAGE
        if page not in self._read:
            (self._read[page],) = self._physical.read_many([(page, _PAGE)])
        raw = self._read[page]
        return raw[offset : offset + size] if raw else None


def _same_rights(tables: _Tables, paging: Paging, start: int, top: int) -> bytes:
    found = walk(tables.read, start, paging)
    rights, end = _rights(found), _end(found)
    for _ in range(_MOST_PAGES):
        if end >= top:
            break
        found = walk(tables.read, end, paging)
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
    mode = found.paging.mode
    if LEVELS[mode] > 3 and not is_canonical(found.linear, mode):
        return (1 << 64) - (1 << (56 if mode == "5-level" else 47))
    if found.page_size:
        span = found.page_size
    else:
        level = LEVELS[mode] - len(found.steps) + (found.unreadable is None)
        span = _PAGE << (10 if LEVELS[mode] == 2 else 9) * (level - 1)
    return (found.linear | span - 1) + 1


def _region(start: int, end: int, rights: str) -> bytes:
    permissions = f"permissions:{rights};" if rights else ""
    return f"start:{start:x};size:{end - start:x};{permissions}".encode()
