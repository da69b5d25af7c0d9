"""What is wrong with descriptors, tables and TSSs (SDM Vol. 3A, 3 and 5 to 8)."""

from collections.abc import Iterator

from klosdbg.x86.checks_cpu import STACK_USES_SP
from klosdbg.x86.checks_cpu import check_cpu as check_cpu
from klosdbg.x86.checks_paging import check_address as check_address
from klosdbg.x86.checks_paging import check_cr3 as check_cr3
from klosdbg.x86.checks_paging import check_page_entry as check_page_entry
from klosdbg.x86.checks_paging import check_walk as check_walk
from klosdbg.x86.descriptor import (
    Descriptor,
    Gate,
    Reserved,
    Segment,
    SystemSegment,
    decode_descriptor,
)
from klosdbg.x86.findings import Finding
from klosdbg.x86.iobitmap import IoBitmap
from klosdbg.x86.paging import is_canonical
from klosdbg.x86.table import Entry, Table
from klosdbg.x86.tss import MINIMUM_LIMIT, Tss
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_IDT_GATES = ("interrupt-gate", "trap-gate")
_TOP = 0x1_0000_0000
_LARGEST_SP = 0xFFFF
_HIGH_BYTE = 0xFF00_0000
_IOMAP_BASE_MAX = 0xDFFF


def check_descriptor(
    descriptor: Descriptor, where: str = "descriptor", long_mode: bool = False
) -> Iterator[Finding]:
    """Check a GDT or LDT entry; the processor ignores one that is not present but for its type."""
    if isinstance(descriptor, Segment):
        yield from _segment(descriptor, where, long_mode)
    elif isinstance(descriptor, SystemSegment):
        yield from _system(descriptor, where, long_mode)
    elif isinstance(descriptor, Gate):
        yield from check_gate(descriptor, where, in_idt=False, long_mode=long_mode)
    elif isinstance(descriptor, Reserved):
        yield from _reserved(descriptor, where)


def check_gate(
    gate: Descriptor, where: str = "gate", in_idt: bool = True, long_mode: bool = False
) -> Iterator[Finding]:
    """Check a gate of the IDT, or of a GDT or LDT."""
    if not isinstance(gate, Gate):
        if gate.kind != "empty":
            text = f"no gate: the descriptor is of kind {gate.kind}, using it raises #GP"
            yield Finding("gate-type", "error", where, text)
        return
    if (gate.kind in _IDT_GATES) != in_idt and gate.kind != "task-gate":
        table = "IDT" if in_idt else "GDT or LDT"
        yield Finding("gate-table", "error", where, f"a {gate.kind} does not work in a {table}")
    yield from _gate_bits(gate, where)
    yield from _gate_target(gate, where, long_mode)


def check_table(table: Table, long_mode: bool = False) -> Iterator[Finding]:
    """Check a table's limit and base, and each of its entries."""
    size = table.entry_size
    name = table.kind.upper()
    if (table.limit + 1) % size:
        text = f"limit {table.limit:#x} is not {size} * n - 1: {table.slots} whole entries fit"
        yield Finding("table-limit", "warning", name, text)
    if table.kind == "idt" and table.limit + 1 > 256 * size:
        text = f"limit {table.limit:#x} reaches past vector 255, which no interrupt has"
        yield Finding("idt-limit", "note", name, text)
    if table.base % 8:
        text = f"base {table.base:#x} is not a multiple of 8: entries straddle cache lines"
        yield Finding("table-alignment", "note", name, text)
    if table.kind == "gdt":
        yield from _null_slot(table)
    for entry in table.entries:
        yield from _entry(table, entry, long_mode)


def check_tss(tss: Tss, where: str = "TSS") -> Iterator[Finding]:
    """Check a TSS: its limit, the ring-0 stack, and the I/O bitmap with its terminator."""
    yield from _tss_limit(tss.limit, tss.bits, where)
    yield from _ring0_stack(tss, where)
    yield from check_iobitmap(tss.io, where)


def check_iobitmap(bitmap: IoBitmap, where: str = "I/O bitmap") -> Iterator[Finding]:
    """Check where an I/O bitmap lies, and that its last byte within the limit is 0xff."""
    start, limit = bitmap.iomap_base, bitmap.limit
    if not bitmap.present or start >= limit:
        return
    if start <= MINIMUM_LIMIT[32]:
        text = f"the I/O bitmap at {start:#x} overlays the TSS: its bytes decide about ports"
        yield Finding("iomap-overlay", "error", where, text)
        return
    if start > _IOMAP_BASE_MAX:
        text = f"iomap_base {start:#x} is above {_IOMAP_BASE_MAX:#x}"
        yield Finding("iomap-base", "warning", where, text)
    last = limit - start
    if last < len(bitmap.raw) and bitmap.raw[last] != 0xFF:
        text = f"the bitmap's last byte, at {limit:#x}, is not 0xff but {bitmap.raw[last]:#04x}"
        yield Finding("iomap-terminator", "warning", where, text)


def _segment(segment: Segment, where: str, long_mode: bool) -> Iterator[Finding]:
    if segment.executable and segment.l and (segment.db or not long_mode):
        text = (
            "L and D are both 1" if segment.db else "L is 1 outside long mode, where it is reserved"
        )
        yield Finding("segment-l", "error", where, text)
    if not segment.executable and segment.l:
        text = "L is 1 in a data segment, where it is reserved: meant as code?"
        yield Finding("data-l", "warning", where, text)
    if segment.executable and segment.conforming and segment.dpl:
        text = (
            f"conforming code of DPL {segment.dpl} runs at its caller's CPL, {segment.dpl} or more"
        )
        yield Finding("conforming-dpl", "note", where, text)
    if segment.valid_offsets is None:
        text = f"expand-down with limit {segment.last_byte:#x}: no offset is valid"
        yield Finding("expand-down-empty", "error", where, text)
    if not long_mode:
        yield from _segment_range(segment, where)
        yield from _as_stack(segment, where)


def _segment_range(segment: Segment, where: str) -> Iterator[Finding]:
    end = segment.base + segment.last_byte
    if end >= _TOP and not segment.expand_down and segment.base:
        text = f"base {segment.base:#x} + limit {segment.last_byte:#x} wraps past 4 GiB"
        yield Finding("segment-wraps", "note", where, text)


def _as_stack(segment: Segment, where: str) -> Iterator[Finding]:
    upward = segment.writable and not segment.expand_down
    if segment.present and upward and not segment.db and segment.last_byte > _LARGEST_SP:
        yield Finding("stack-uses-sp", "note", where, f"as a stack: {STACK_USES_SP}")


def _system(system: SystemSegment, where: str, long_mode: bool) -> Iterator[Finding]:
    if _without_s_bit(system):
        text = "S is 0, but base and limit are those of a flat segment: bit 44 forgotten?"
        yield Finding("s-forgotten", "warning", where, text)
    if system.kind != "ldt":
        yield from _tss_limit(system.last_byte, system.bits, where)
    if system.kind == "ldt" and (system.last_byte + 1) % 8:
        text = f"limit {system.last_byte:#x} is not 8 * n - 1"
        yield Finding("table-limit", "warning", where, text)
    holds = {"L (53)": system.l, "D/B (54)": system.db, "127:96": system.reserved != 0}
    if any(holds.values()):
        named = ", ".join(name for name, true in holds.items() if true)
        text = f"reserved bits are not 0: {named}"
        yield Finding("system-reserved", "warning", where, text)
    if long_mode and not is_canonical(system.base):
        yield Finding("base-canonical", "error", where, f"base {system.base:#x} is not canonical")


def _tss_limit(limit: int, bits: int, where: str) -> Iterator[Finding]:
    least = MINIMUM_LIMIT[bits]
    if limit < least:
        text = f"limit {limit:#x} is below {least:#x}: switching to it raises #TS"
        yield Finding("tss-limit", "error", where, text)
    elif limit == least + 1:
        text = f"limit {limit:#x} is one more than {least:#x}: a size, not the last byte?"
        yield Finding("tss-limit-size", "note", where, text)


def _reserved(reserved: Reserved, where: str) -> Iterator[Finding]:
    if _without_s_bit(reserved):
        text = "S is 0, but base and limit are those of a flat segment: bit 44 forgotten?"
        yield Finding("s-forgotten", "warning", where, text)
    swapped = decode_descriptor(reserved.raw[4:8] + reserved.raw[:4])
    if not any(reserved.raw[4:8]) and isinstance(swapped, Segment) and swapped.present:
        text = f"the high half is 0, and the halves swapped are a {swapped.kind} segment"
        yield Finding("halves-swapped", "warning", where, text)
    elif reserved.present:
        text = f"system type {reserved.type:#x} is reserved: loading it raises #GP"
        yield Finding("reserved-type", "error", where, text)


def _without_s_bit(descriptor: SystemSegment | Reserved) -> bool:
    raw = bytearray(descriptor.raw[:8])
    raw[5] |= 0x10
    meant = decode_descriptor(bytes(raw))
    if not isinstance(meant, Segment):
        return False
    return meant.present and meant.base == 0 and meant.last_byte >= 0xF_FFFF


def _gate_bits(gate: Gate, where: str) -> Iterator[Finding]:
    free = gate.kind == "task-gate"
    wide = gate.bits == 64
    low = gate.low5 & (0x1F if wide and gate.kind == "call-gate" else 0x18 if wide else 0)
    if gate.kind in _IDT_GATES and not wide:
        low = gate.low5
    if not free and (low or gate.high3 or gate.reserved or gate.unused):
        yield Finding("gate-reserved", "warning", where, "reserved bits are not 0")


def _gate_target(gate: Gate, where: str, long_mode: bool) -> Iterator[Finding]:
    if gate.present and gate.target_selector & ~3 == 0:
        yield Finding("gate-selector", "error", where, "the target selector is null: #GP")
    if gate.present and gate.kind == "task-gate" and gate.target_selector & 4:
        yield Finding("gate-selector", "error", where, "a task gate's TSS must be in the GDT: #GP")
    if long_mode and gate.present and not is_canonical(gate.offset):
        yield Finding("offset-canonical", "error", where, f"offset {gate.offset:#x}: #GP")


def _null_slot(table: Table) -> Iterator[Finding]:
    first = next((e for e in table.entries if e.index == 0), None)
    if first is not None and first.descriptor.kind != "empty":
        yield Finding(
            "null-slot", "note", "GDT 0", "the null slot is in use; no selector reaches it"
        )


def _entry(table: Table, entry: Entry, long_mode: bool) -> Iterator[Finding]:
    where = f"{table.kind.upper()} {entry.index:#x}"
    if entry.count > 1:
        where += f"..{entry.index + entry.count - 1:#x}"
    if table.kind == "idt":
        yield from check_gate(entry.descriptor, where, long_mode=long_mode)
        yield from _exception_gate(entry, where)
    else:
        yield from check_descriptor(entry.descriptor, where, long_mode)
        yield from _base_high_byte(table, entry, where)


def _exception_gate(entry: Entry, where: str) -> Iterator[Finding]:
    vectors = range(entry.index, entry.index + entry.count)
    open_to_user = entry.descriptor.present and entry.descriptor.dpl == 3
    if open_to_user and PUSH_ERROR_CODE.intersection(vectors):
        text = "ring 3 may raise this vector with INT, which pushes no error code"
        yield Finding("gate-dpl", "warning", where, text)


def _base_high_byte(table: Table, entry: Entry, where: str) -> Iterator[Finding]:
    system = entry.descriptor
    if not isinstance(system, SystemSegment) or system.bits == 64 or not system.present:
        return
    if table.base & _HIGH_BYTE and not system.base & _HIGH_BYTE:
        text = f"base {system.base:#x}: bits 31:24 are 0, the table's are {table.base >> 24:#x}"
        yield Finding("base-high-byte", "warning", where, f"{text}; byte 7 forgotten?")


def _ring0_stack(tss: Tss, where: str) -> Iterator[Finding]:
    if tss.bits != 64 and tss.fields.get("ss0") in (0, 1, 2, 3):
        text = "ss0 is null: entering ring 0 raises #TS"
        yield Finding("ss0-null", "error", where, text)
    stack = tss.fields.get({16: "sp0", 32: "esp0", 64: "rsp0"}[tss.bits])
    end = tss.base + max(tss.limit, MINIMUM_LIMIT[tss.bits]) + 1
    if stack is not None and tss.base < stack <= end:
        text = f"the ring-0 stack begins at {stack:#x}, and grows down into the TSS"
        yield Finding("stack-in-tss", "error", where, text)
    if tss.bits == 64:
        for name, value in tss.fields.items():
            if name != "iomap_base" and value is not None and not is_canonical(value):
                text = f"{name} {value:#x} is not canonical: a switch to it raises #SS"
                yield Finding("stack-canonical", "error", where, text)
