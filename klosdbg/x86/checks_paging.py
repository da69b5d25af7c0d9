"""What is wrong with paging entries, linear addresses and CR3 (SDM Vol. 3A, 4)."""

from collections.abc import Iterator

from klosdbg.x86.address import WIDE, LinearAddress
from klosdbg.x86.findings import Finding
from klosdbg.x86.paging import MAX_PHYSICAL_BITS, Mode, PageEntry, Paging, Walk

_ACCESSED = 1 << 5
_FRAME = (1 << MAX_PHYSICAL_BITS) - 1 & ~0xFFF
_TOP_OF_FRAME = 0xF << 48


def check_page_entry(entry: PageEntry, where: str | None = None) -> Iterator[Finding]:
    """Check a paging entry for bits that are reserved and set, and for a frame that is inverted."""
    place = where or entry.name
    if entry.reserved:
        yield _reserved(entry, place)
    if not entry.narrow and entry.raw & _TOP_OF_FRAME == _TOP_OF_FRAME:
        text = (
            f"address {entry.frame:#x} needs 52 bits, more than any memory; inverted it is"
            f" {entry.frame ^ _FRAME:#x}: Linux inverts frames that are not present (L1TF)"
        )
        yield Finding("frame-inverted", "warning" if entry.present else "note", place, text)


def _reserved(entry: PageEntry, place: str) -> Finding:
    text = f"reserved bits are set: {entry.reserved:#x}"
    if entry.reserved >> entry.physical_bits & (1 << MAX_PHYSICAL_BITS - entry.physical_bits) - 1:
        text = f"{text} (addresses have {entry.physical_bits} bits)"
    if not entry.root_pdpte:
        return Finding("pte-reserved", "error", place, f"{text}; using it raises #PF with RSVD")
    if entry.reserved == _ACCESSED:
        text = f"{text}: QEMU marks a PDPTE it has used; a processor would not load it"
        return Finding("pte-reserved", "note", place, text)
    text = f"{text}; loading it with CR3, CR0 or CR4 raises #GP(0), and never #PF"
    return Finding("pte-reserved", "error", place, text)


def check_walk(walk: Walk) -> Iterator[Finding]:
    """Check every entry that a walk read."""
    for step in walk.steps:
        yield from check_page_entry(step.entry, f"{step.entry.name} at {step.address:#x}")


def check_address(address: LinearAddress, guessed: bool = False) -> Iterator[Finding]:
    """Check that the mode takes an address; ``guessed``: the mode was chosen by the address."""
    if address.canonical is False:
        used = 57 if address.mode == "5-level" else 48
        but = ", though it is with 57 (5-level)" if address.canonical_bits == 57 else ""
        text = f"not canonical with {used} bits{but}: an access raises #GP (#SS), without a walk"
        yield Finding("address-canonical", "error", "address", text)
    elif guessed and address.canonical_bits == 57:
        text = "not canonical with 48 bits: an address only if CR4.LA57=1 (5-level), else #GP (#SS)"
        yield Finding("address-canonical", "warning", "address", text)


def check_cr3(
    raw: int, mode: Mode | None, physical_bits: int = MAX_PHYSICAL_BITS
) -> Iterator[Finding]:
    """Check CR3 for bits that cannot be written, or that the mode ignores."""
    if mode not in WIDE:
        yield from _ignored_in_cr3(raw, mode)
        return
    above = raw & (1 << 61) - 1 & ~((1 << physical_bits) - 1)
    if above:
        text = f"bits above MAXPHYADDR are set: {above:#x}; writing them raises #GP(0)"
        yield Finding("cr3-reserved", "error", "CR3", text)
    if raw >> 63:
        text = "bit 63 is never stored: moved to CR3 with CR4.PCIDE=1 it keeps the TLB, else #GP(0)"
        yield Finding("cr3-no-flush", "note", "CR3", text)


def _ignored_in_cr3(raw: int, mode: Mode | None) -> Iterator[Finding]:
    used = 0xFFFF_FFE0 if mode == "PAE" else 0xFFFF_F018
    ignored = raw & ~used
    if mode is not None and ignored:
        text = f"{mode} paging ignores bits that are set: {ignored:#x}"
        if ignored & 0xFE0:
            text += f"; with PAE the root would be at {Paging('PAE', raw).root:#x}"
        yield Finding("cr3-ignored", "note", "CR3", text)
