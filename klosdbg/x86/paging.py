"""Paging-structure entries and the walk over them (SDM Vol. 3A, chapter 4).

    63  62   59 58  52 51                    12 11 9 8 7 6 5 4   3   2  1  0
   +--+--------+------+------------------------+----+-+--+-+-+---+---+--+--+-+
   |NX|  key   | free |   physical address     |free|G|PS|D|A|PCD|PWT|US|RW|P|
   +--+--------+------+------------------------+----+-+--+-+-+---+---+--+--+-+

A 32-bit entry is the low half. Bit 7 is PAT in an entry of level 1; of a large page PAT is bit 12.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.bits import bit, bits
from klosdbg.x86.cpu import Cpu

Mode = Literal["32-bit", "PSE", "PAE", "4-level", "5-level"]
ReadPhysical = Callable[[int, int], bytes | None]
"""Reads ``size`` bytes at a physical address; None where there is no memory."""
ReadManyPhysical = Callable[[list[tuple[int, int]]], list[bytes | None]]
"""Reads several ``(address, size)`` ranges at once; None where there is no memory."""

PAGE = 4096
"""The size of the smallest page, and of every paging structure but PAE's root."""
NAMES = {1: "pte", 2: "pde", 3: "pdpte", 4: "pml4e", 5: "pml5e"}
LEVELS: Mapping[str, int] = {"32-bit": 2, "PSE": 2, "PAE": 3, "4-level": 4, "5-level": 5}
_ADDRESS = ((1 << 52) - 1) & ~0xFFF
MAX_PHYSICAL_BITS = 52
"""The most that MAXPHYADDR can be."""


@dataclass(frozen=True, slots=True)
class PageEntry:
    """An entry of a paging structure: ``level`` 1 is a PTE, 5 a PML5E.

    Where ``present`` is False the processor ignores every other bit. ``physical_bits`` is
    MAXPHYADDR; 52 reserves no address bit.
    """

    raw: int
    mode: Mode
    level: int
    physical_bits: int = MAX_PHYSICAL_BITS

    @property
    def name(self) -> str:
        """The manual's name: pte, pde, pdpte, pml4e, pml5e."""
        return NAMES[self.level]

    @property
    def narrow(self) -> bool:
        """Tell whether it is a 32-bit entry."""
        return LEVELS[self.mode] == 2

    @property
    def root_pdpte(self) -> bool:
        """Tell a PDPTE of PAE paging, which has neither rights nor an accessed bit."""
        return self.mode == "PAE" and self.level == 3

    @property
    def present(self) -> bool:
        """Bit 0."""
        return bit(self.raw, 0)

    @property
    def writable(self) -> bool:
        """R/W, bit 1."""
        return bit(self.raw, 1)

    @property
    def user(self) -> bool:
        """U/S, bit 2."""
        return bit(self.raw, 2)

    @property
    def pwt(self) -> bool:
        """Write-through, bit 3."""
        return bit(self.raw, 3)

    @property
    def pcd(self) -> bool:
        """Cache disable, bit 4."""
        return bit(self.raw, 4)

    @property
    def accessed(self) -> bool:
        """Bit 5."""
        return bit(self.raw, 5)

    @property
    def dirty(self) -> bool:
        """Bit 6; it means something only where the entry maps a page."""
        return bit(self.raw, 6)

    @property
    def bit7(self) -> bool:
        """PS in a PDE or PDPTE, PAT in a PTE."""
        return bit(self.raw, 7)

    @property
    def global_(self) -> bool:
        """Bit 8; it means something only where the entry maps a page and CR4.PGE is set."""
        return bit(self.raw, 8)

    @property
    def avl(self) -> int:
        """Bits 11:9, free for the system."""
        return bits(self.raw, 11, 9)

    @property
    def high_avl(self) -> int:
        """Bits 58:52 of a 64-bit entry: free for the system, but reserved in PAE paging."""
        return 0 if self.narrow else bits(self.raw, 58, 52)

    @property
    def protection_key(self) -> int:
        """Bits 62:59 of a 64-bit entry."""
        return 0 if self.narrow else bits(self.raw, 62, 59)

    @property
    def nx(self) -> bool:
        """No execute, bit 63 of a 64-bit entry; it needs EFER.NXE, and a PDPTE of PAE has none."""
        return not self.narrow and bit(self.raw, 63)

    @property
    def large(self) -> bool:
        """Tell whether it maps a page larger than 4 KiB."""
        if self.mode == "32-bit" or self.root_pdpte:
            return False
        return self.level in (2, 3) and self.bit7

    @property
    def maps_page(self) -> bool:
        """Tell an entry that maps a page from one that points to a further table."""
        return self.level == 1 or self.large

    @property
    def page_size(self) -> int | None:
        """The size of the page in bytes; None where the entry points to a table."""
        return 1 << self._shift if self.maps_page else None

    @property
    def pat(self) -> bool:
        """The PAT bit: bit 7 of a PTE, bit 12 of a large page."""
        return bit(self.raw, 12) if self.large else self.level == 1 and self.bit7

    @property
    def address(self) -> int:
        """The physical address of the page or of the next table."""
        if self.narrow and self.large:
            return self.raw & 0xFFC0_0000 | bits(self.raw, 20, 13) << 32
        return self.frame & ~((1 << self._shift) - 1)

    @property
    def frame(self) -> int:
        """The address field as bits 51:12 (31:12) hold it, whatever the entry maps."""
        return self.raw & (0xFFFF_F000 if self.narrow else _ADDRESS)

    @property
    def reserved(self) -> int:
        """The bits that are set though the manual reserves them, for NXE=1."""
        return self.reserved_bits(self.physical_bits, nxe=True) if self.present else 0

    def reserved_bits(self, physical_bits: int, nxe: bool) -> int:
        """Give the set bits that raise #PF with RSVD on a processor with these abilities."""
        return self.raw & self._must_be_zero(physical_bits, nxe)

    @property
    def _shift(self) -> int:
        if not self.large:
            return 12
        return 22 if self.narrow else 12 + 9 * (self.level - 1)

    def _must_be_zero(self, physical_bits: int, nxe: bool) -> int:
        if self.narrow:
            width = min(max(physical_bits, 32), 40)
            return 0x3F_FFFF & ~((1 << (width - 19)) - 1) if self.large else 0
        mask = _ADDRESS & ~((1 << physical_bits) - 1) | (0 if nxe else 1 << 63)
        if self.mode == "PAE":
            mask |= 0x7FF << 52
        if self.root_pdpte:
            return mask | 1 << 63 | 0x1E6
        if self.large:
            return mask | ((1 << self._shift) - 1) & ~0x1FFF
        return mask | (0x80 if self.level > 3 else 0)


def decode_pte(
    value: int, mode: Mode, level: int = 1, physical_bits: int = MAX_PHYSICAL_BITS
) -> PageEntry:
    """Decode a paging entry; ``level`` is 1 for a PTE and rises to the root. Total in ``value``."""
    mask = 0xFFFF_FFFF if LEVELS[mode] == 2 else (1 << 64) - 1
    return PageEntry(value & mask, mode, level, physical_bits)


@dataclass(frozen=True, slots=True)
class Paging:
    """How a processor walks: ``mode``, CR3, and the bits that bind the rights.

    ``physical_bits`` is MAXPHYADDR; 52 reserves no address bit.
    """

    mode: Mode
    cr3: int
    nxe: bool = False
    physical_bits: int = MAX_PHYSICAL_BITS

    @property
    def root(self) -> int:
        """The physical address, out of CR3, of the structure that a walk begins at."""
        if self.levels == 2:
            return self.cr3 & 0xFFFF_F000
        return self.cr3 & (0xFFFF_FFE0 if self.mode == "PAE" else _ADDRESS)

    @property
    def levels(self) -> int:
        """How many entries a walk reads, at most."""
        return LEVELS[self.mode]

    @property
    def entry_size(self) -> int:
        """The size of an entry in bytes."""
        return 4 if self.levels == 2 else 8

    def table_size(self, level: int) -> int:
        """Give the size in bytes of a paging structure."""
        return 32 if self.mode == "PAE" and level == 3 else PAGE

    def span(self, level: int) -> int:
        """Give how many bytes of linear memory one entry is for."""
        return PAGE << (10 if self.levels == 2 else 9) * (level - 1)


def paging_of(cpu: Cpu, cr3: int | None = None) -> Paging | None:
    """Tell how the processor walks, from its own or another CR3; None where paging is off.

    NXE counts as set in long mode, where dumps do not tell it (SDM Vol. 3A, 4.1.1).
    """
    if cpu.paging == "off":
        return None
    mode: Mode = "PSE" if cpu.paging == "32-bit" and bit(cpu.cr4, 4) else cpu.paging
    return Paging(mode, cpu.cr3 if cr3 is None else cr3, nxe=cpu.long_mode or bit(cpu.efer, 11))


@dataclass(frozen=True, slots=True)
class Step:
    """One entry that a walk read: its index, and its own physical address."""

    index: int
    address: int
    entry: PageEntry


@dataclass(frozen=True, slots=True)
class Walk:
    """The way from a linear to a physical address; ``why`` says why it ended early, else None.

    ``unreadable`` is the physical address of an entry that is not in memory.
    """

    linear: int
    paging: Paging
    steps: tuple[Step, ...]
    why: str | None = None
    unreadable: int | None = None

    @property
    def physical(self) -> int | None:
        """The physical address; None where the page is not mapped."""
        size = self.page_size
        if self.why is not None or size is None:
            return None
        return self.steps[-1].entry.address | self.linear & (size - 1)

    @property
    def page_size(self) -> int | None:
        """The size of the page in bytes; None where none is mapped."""
        return self.steps[-1].entry.page_size if self.steps and self.why is None else None

    @property
    def user(self) -> bool:
        """Tell whether CPL 3 may touch the page: U/S at every level."""
        return all(e.user for e in self._with_rights())

    @property
    def writable(self) -> bool:
        """Tell whether R/W is set at every level; a supervisor with CR0.WP=0 writes regardless."""
        return all(e.writable for e in self._with_rights())

    @property
    def nx(self) -> bool:
        """Tell whether fetches are forbidden: NX at any level, and EFER.NXE."""
        return self.paging.nxe and any(e.nx for e in self._with_rights())

    def _with_rights(self) -> Iterator[PageEntry]:
        return (step.entry for step in self.steps if not step.entry.root_pdpte)


def is_canonical(address: int, mode: Mode = "4-level") -> bool:
    """Tell whether bits 63:47 (63:56 with 5 levels) of a linear address are all equal."""
    top = address >> (56 if mode == "5-level" else 47)
    return top in (0, (1 << 64 >> (56 if mode == "5-level" else 47)) - 1)


def table_index(linear: int, mode: Mode, level: int) -> int:
    """Give the index of a linear address in the table of a level."""
    if LEVELS[mode] == 2:
        return bits(linear, 31, 22) if level == 2 else bits(linear, 21, 12)
    if mode == "PAE" and level == 3:
        return bits(linear, 31, 30)
    return bits(linear, 12 + 9 * level - 1, 12 + 9 * (level - 1))


def cut_at_pages(address: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut a range into ``(address, size)`` at the bounds of pages."""
    while size > 0:
        part = min(size, PAGE - address % PAGE)
        yield address, part
        address, size = address + part, size - part


def walk(read_physical: ReadPhysical, linear: int, paging: Paging) -> Walk:
    """Walk the paging structures for a linear address, through ``read_physical``. Total."""

    def read_many(asked: list[tuple[int, int]]) -> list[bytes | None]:
        return [read_physical(*each) for each in asked]

    return walk_all(read_many, [linear], paging)[linear]


def walk_all(
    read_many: ReadManyPhysical, linears: Iterable[int], paging: Paging
) -> dict[int, Walk]:
    """Walk for several linear addresses at once: each level is one call. Total."""
    ways = {linear: _walking(linear, paging) for linear in linears}
    answers: dict[int, bytes | None] = dict.fromkeys(ways)
    walks: dict[int, Walk] = {}
    while answers:
        asked: dict[int, tuple[int, int]] = {}
        for linear, answer in answers.items():
            try:
                asked[linear] = ways[linear].send(answer)
            except StopIteration as ended:
                walks[linear] = ended.value
        wanted = list(dict.fromkeys(asked.values()))
        raws = dict(zip(wanted, read_many(wanted), strict=True)) if wanted else {}
        answers = {linear: raws[place] for linear, place in asked.items()}
    return walks


def _walking(linear: int, paging: Paging) -> Generator[tuple[int, int], bytes | None, Walk]:
    """Yield the ``(address, size)`` of each entry, to be sent what is there; return the walk."""
    if paging.levels > 3 and not is_canonical(linear, paging.mode):
        return Walk(linear, paging, (), "the address is not canonical: #GP or #SS, no walk")
    steps: list[Step] = []
    table = paging.root
    for level in range(paging.levels, 0, -1):
        index = table_index(linear, paging.mode, level)
        at = table + index * paging.entry_size
        raw = yield at, paging.entry_size
        if raw is None or len(raw) < paging.entry_size:
            unread = f"the {NAMES[level]} at physical {at:#x} cannot be read"
            return Walk(linear, paging, tuple(steps), unread, at)
        entry = decode_pte(int.from_bytes(raw, "little"), paging.mode, level)
        steps.append(Step(index, at, entry))
        why = _stops(entry, paging)
        if why or entry.maps_page:
            return Walk(linear, paging, tuple(steps), why)
        table = entry.address
    raise AssertionError("a level 1 entry maps a page")


def _stops(entry: PageEntry, paging: Paging) -> str | None:
    if not entry.present:
        return f"the {entry.name} is not present"
    if entry.root_pdpte:  # loaded with CR3 and judged then (#GP), and QEMU sets bit 5 of it later
        return None
    reserved = entry.reserved_bits(paging.physical_bits, paging.nxe)
    return f"the {entry.name} has reserved bits set: {reserved:#x}" if reserved else None
