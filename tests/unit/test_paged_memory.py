"""Linear memory through page tables that lie in physical memory, and change."""

import struct
from dataclasses import replace

from klosdbg.paged import PagedMemory, PageTables
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import paging_of
from tests.unit.klos.frozen import cpu

_NX, _LARGE, _USER, _WRITABLE, _PRESENT = 1 << 63, 1 << 7, 1 << 2, 1 << 1, 1
_NXE, _PAE, _PSE = 1 << 11, 1 << 5, 1 << 4


class Physical:
    """Bytes from address 0 on; counts what is read."""

    def __init__(self) -> None:
        self.content = bytearray(0x6000)
        self.reads = 0
        self.round_trips = 0

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.content[address : address + size])

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        self.reads += len(requests)
        self.round_trips += 1
        return [self.read(*request) for request in requests]

    def put(self, address: int, entry: int) -> None:
        struct.pack_into("<Q", self.content, address, entry)


def with_pae(efer: int) -> Cpu:
    """PAE's root is at 0x1000."""
    return replace(cpu(), cr0=0x80000011, cr3=0x1000, cr4=_PAE, efer=efer)


def tables() -> Physical:
    """The first two pages of linear memory are at 0x4000 and 0x5000, without execution."""
    physical = Physical()
    physical.put(0x1000, 0x2000 | _PRESENT)
    physical.put(0x2000, 0x3000 | _PRESENT)
    physical.put(0x3000, 0x4000 | _PRESENT | _NX)
    physical.put(0x3008, 0x5000 | _PRESENT | _NX)
    physical.content[0x4000:0x4004] = b"here"
    physical.content[0x5000:0x5004] = b"next"
    return physical


def test_a_page_without_execution_is_read_under_pae() -> None:
    """Bit 63 is reserved without EFER.NXE alone."""
    assert PagedMemory(tables(), paging_of(with_pae(_NXE))).read(0, 4) == b"here"
    assert PagedMemory(tables(), paging_of(with_pae(0))).read_many([(0, 4)]) == [None]


def test_an_entry_that_changes_is_seen() -> None:
    physical = tables()
    memory = PagedMemory(physical, paging_of(with_pae(_NXE)))
    assert memory.read_many([(0, 4), (0x1000, 4)]) == [b"here", b"next"]
    physical.put(0x3000, 0x5000 | _PRESENT)
    assert memory.read_many([(0, 4), (0x1000, 4)]) == [b"next", b"next"]
    physical.put(0x2000, 0)
    assert memory.read_many([(0, 4), (0x1000, 4)]) == [None, None]


def test_each_entry_is_looked_at_once() -> None:
    """Two pages share what leads to them."""
    physical = tables()
    memory = PagedMemory(physical, paging_of(with_pae(_NXE)))
    memory.read_many([(0, 4), (0x1000, 4)])
    physical.reads = 0
    memory.read_many([(0, 4), (0x1000, 4)])
    assert physical.reads == 2 + 1 + 1 + 2


def test_each_level_is_one_round_trip() -> None:
    """However many pages; and one more for what is mapped, which pages that are known take too."""
    physical = tables()
    memory = PagedMemory(physical, paging_of(with_pae(_NXE)))
    assert memory.read(0xFFE, 4) == b"\0\0ne"
    assert physical.round_trips == 3 + 1
    assert memory.read_many([(0, 4), (0x1000, 4)]) == [b"here", b"next"]
    assert physical.round_trips == 3 + 1 + 1 + 1
    assert memory.read_many([(0x2000, 4)]) == [None]
    assert physical.round_trips == 3 + 1 + 1 + 1 + 3


def test_mapped_pages_are_those_that_a_walk_finds() -> None:
    """Large ones too, in the order of linear addresses; and each structure is read once."""
    physical = tables()
    physical.put(0x2008, 0x20_0000 | _LARGE | _USER | _WRITABLE | _PRESENT)
    physical.put(0x3010, 0x3000 | _USER | _PRESENT)
    paging = paging_of(with_pae(_NXE))
    assert paging is not None
    page_tables = PageTables(physical)
    found = page_tables.pages(paging, 0x1000, 0x3FFFFF)
    assert [page.linear for page in found] == [0x1000, 0x2000, 0x200000]
    assert [page.size for page in found] == [0x1000, 0x1000, 0x200000]
    for page in found:
        walked = page_tables.walk(page.linear, paging)
        assert (walked.physical, walked.page_size) == (page.physical, page.size)
        assert (walked.user, walked.writable) == (page.user, page.writable)
    read = physical.round_trips
    page_tables.walk(0x1000, paging)
    assert physical.round_trips == read


def test_how_the_processor_walks() -> None:
    found = paging_of(replace(cpu(), cr0=0x80000011, cr4=_PSE, cr3=0x7000))
    assert found is not None
    assert (found.mode, found.cr3, found.nxe) == ("PSE", 0x7000, False)
    other = paging_of(with_pae(_NXE), 0x8000)
    assert other is not None
    assert (other.mode, other.cr3, other.nxe) == ("PAE", 0x8000, True)
    assert paging_of(replace(cpu(), cr0=0x11)) is None
