"""read_*: follow the processor's structures through a target, and resolve addresses. May raise."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Literal

from klosdbg.errors import CommandError, MemoryFault
from klosdbg.models import Address, SegmentState, SegmentStates, SelectorInfo
from klosdbg.ports import Memory, Symbols, Target
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu, SegmentRegister
from klosdbg.x86.descriptor import (
    Descriptor,
    Gate,
    Segment,
    decode_descriptor,
    descriptor_size,
)
from klosdbg.x86.disasm import Instruction, disassemble
from klosdbg.x86.iobitmap import PORTS, WITH_TERMINATOR, IoBitmap, PortAccess, port_access
from klosdbg.x86.paging import cut_at_pages
from klosdbg.x86.selector import Selector
from klosdbg.x86.table import Ivt, Table, TableKind, decode_ivt, decode_table
from klosdbg.x86.tss import Tss, decode_tss

_REACHABLE = 0xFFFF
"""The last byte of a table that a selector can name, however large an LDT's limit is."""
_CONTROL = ("eip", "eflags", "cr0", "cr2", "cr3", "cr4", "efer")
REGISTERS = (*GPR32, *SEGMENTS, "ldtr", "tr", *_CONTROL)
"""The names that ``read_register`` knows of a 32-bit processor."""
_SOURCE_LINE = re.compile(r"[^:]*\.[A-Za-z]\w*:[0-9]+")


def read_cpu(target: Target) -> Cpu:
    """Read every register, hidden parts of the segment registers included."""
    return target.registers.read()


def read_told(target: Target, *names: str) -> Cpu:
    """Read the registers, or raise ``CommandError`` where the target does not tell these."""
    cpu = read_cpu(target)
    lacks = next((name for name in names if name in cpu.untold), "")
    if lacks:
        part = "the hidden part of " if lacks in cpu.segments else ""
        raise CommandError(f"{target.name} does not tell {part}{lacks}: QEMU's stub would")
    return cpu


def read_memory(target: Target, address: Address, size: int, clip: bool = False) -> bytes:
    """Read ``size`` bytes in the address's own space; ``clip`` takes fewer where memory ends.

    Raise ``MemoryFault`` where none is mapped, ``CommandError`` where not all, or no such space is.
    """
    memory = target.linear if address.space == "linear" else target.physical
    if memory is None:
        raise CommandError(f"{target.name} has no {address.space} memory")
    try:
        return memory.read(address.value, size)
    except MemoryFault:
        mapped = read_mapped(memory, address.value, size)
        if not mapped:
            raise
        if clip:
            return mapped
        raise CommandError(
            f"cannot read {size} bytes at {address.space} {address.value:#010x}: "
            f"only the first {len(mapped)} are mapped"
        ) from None


def read_mapped(memory: Memory, address: int, size: int) -> bytes:
    """Read as much of a range as is mapped from its start on."""
    pages = read_pages(memory, address, size)
    return b"".join(raw for _, raw in takewhile(lambda page: page[1] is not None, pages) if raw)


def read_pages(memory: Memory, address: int, size: int) -> list[tuple[int, bytes | None]]:
    """Read a range as ``(address, bytes)`` cut at page bounds; None where a page is not mapped."""
    pieces = list(cut_at_pages(address, size))
    read = memory.read_many(pieces)
    return [(start, raw) for (start, _), raw in zip(pieces, read, strict=True)]


def read_gdt(target: Target, names: Mapping[int, str] | None = None) -> Table:
    """Read the GDT that GDTR holds; ``names`` maps indices to names."""
    cpu = read_told(target, "gdtr")
    return _read_table(target, cpu, "gdt", cpu.gdtr.base, cpu.gdtr.limit, names)


def read_ldt(target: Target, names: Mapping[int, str] | None = None) -> Table:
    """Read the LDT through LDTR's hidden part, or raise ``CommandError`` where there is none."""
    cpu = read_told(target, "ldtr")
    ldtr = cpu.segments["ldtr"]
    if Selector(ldtr.selector).null or not ldtr.present:
        raise CommandError(f"no LDT: LDTR holds selector {ldtr.selector:#06x}, which selects none")
    return _read_table(target, cpu, "ldt", ldtr.base, ldtr.limit, names)


def read_idt(target: Target, names: Mapping[int, str] | None = None) -> Table:
    """Read the IDT that IDTR holds; raise ``CommandError`` in real mode, which has none."""
    cpu = read_told(target, "idtr")
    if cpu.mode in ("real", "unreal"):
        raise CommandError("the processor is in real mode, where there is no IDT: use 'ivt'")
    return _read_table(target, cpu, "idt", cpu.idtr.base, cpu.idtr.limit, names)


def read_ivt(target: Target) -> Ivt:
    """Read the real-mode interrupt vectors: at IDTR's base in real mode, else those at 0.

    Virtual 8086 mode uses linear 0; other modes show what firmware left at physical 0.
    """
    cpu = read_told(target, "cr0", "idtr")
    base = cpu.idtr.base if cpu.mode in ("real", "unreal") else 0
    memory = target.linear if cpu.real_addressing else target.physical or target.linear
    return decode_ivt(base, memory.read(base, 1024))


def _read_table(
    target: Target,
    cpu: Cpu,
    kind: TableKind,
    base: int,
    limit: int,
    names: Mapping[int, str] | None,
) -> Table:
    limit = min(limit, _REACHABLE)
    pieces = read_pages(target.linear, base, limit + 1)
    if all(raw is None for _, raw in pieces):
        raise CommandError(
            f"the {kind.upper()} at {base:#010x}, limit {limit:#x}, is not mapped: "
            f"compare {kind[0]}dtr and cr3 in 'regs'"
        )
    table = decode_table(kind, base, limit, pieces, cpu.long_mode, names)
    return replace(table, bases=_segment_bases(target, cpu, [e.descriptor for e in table.entries]))


def _target_of(descriptor: Descriptor) -> int:
    return descriptor.target_selector & ~3 if isinstance(descriptor, Gate) else 0


def _segment_bases(target: Target, cpu: Cpu, found: list[Descriptor]) -> dict[int, int]:
    """Map the selectors that gates name to the bases of their segments; long mode has none."""
    if cpu.long_mode:
        return {}
    selectors = set(map(_target_of, found))
    places = {s: place for s in selectors if isinstance(place := _entry(cpu, Selector(s)), int)}
    raws = target.linear.read_many([(place, 8) for place in places.values()])
    segments = {s: decode_descriptor(raw) for s, raw in zip(places, raws, strict=True) if raw}
    return {s: segment.base for s, segment in segments.items() if isinstance(segment, Segment)}


def read_segment_states(target: Target) -> SegmentStates:
    """Compare every segment register's hidden part with the descriptor in memory."""
    names = (*SEGMENTS, "ldtr", "tr")
    cpu = read_told(target, *names)
    return SegmentStates(tuple(_segment_state(target, cpu, cpu.segments[n]) for n in names))


def _segment_state(target: Target, cpu: Cpu, hidden: SegmentRegister) -> SegmentState:
    name = hidden.name
    if cpu.real_addressing and name in SEGMENTS:
        base = hidden.selector << 4
        differs = () if hidden.base == base else ("base",)
        return SegmentState(name, hidden, None, differs, f"{cpu.mode} mode: base is selector x 16")
    info = _follow(target, cpu, hidden.selector)
    if info.descriptor is None:
        return SegmentState(name, hidden, None, (), info.why)
    return SegmentState(name, hidden, info.descriptor, hidden.differences(info.descriptor))


def read_selector(target: Target, value: int, name: str | None = None) -> SelectorInfo:
    """Follow a selector to its descriptor in the live GDT or LDT, as a load would."""
    cpu = read_cpu(target)
    if cpu.real_addressing:
        held_by = tuple(n for n in SEGMENTS if cpu.segments[n].selector == value)
        return SelectorInfo(Selector(value), None, None, held_by, why=cpu.mode, paragraph=True)
    table = "ldtr" if Selector(value).table == "ldt" else "gdtr"
    return _follow(target, read_told(target, table), value, name)


def _follow(target: Target, cpu: Cpu, value: int, name: str | None = None) -> SelectorInfo:
    selector = Selector(value)
    held_by = tuple(n for n, s in cpu.segments.items() if s.selector == value)
    place = _entry(cpu, selector)
    if isinstance(place, str):
        return SelectorInfo(selector, None, None, held_by, name, place)
    try:
        descriptor = _read_descriptor(target, cpu, selector, place)
    except MemoryFault:
        why = "its entry is not mapped: loading it raises #PF"
        return SelectorInfo(selector, place, None, held_by, name, why)
    base = _segment_bases(target, cpu, [descriptor]).get(_target_of(descriptor), 0)
    return SelectorInfo(selector, place, descriptor, held_by, name, target_base=base)


def _entry(cpu: Cpu, selector: Selector) -> int | str:
    """Give the linear address of a selector's entry, or say why there is none."""
    if selector.null:
        return "null selector"
    if selector.table == "ldt" and not cpu.segments["ldtr"].present:
        return "there is no LDT"
    base, limit = _table_of(cpu, selector)
    if selector.byte_offset + 7 > limit:
        return f"past the {selector.table.upper()}'s limit {limit:#x}: loading it raises #GP"
    return base + selector.byte_offset


def _table_of(cpu: Cpu, selector: Selector) -> tuple[int, int]:
    register = cpu.segments["ldtr"] if selector.table == "ldt" else cpu.gdtr
    return register.base, register.limit


def _read_descriptor(target: Target, cpu: Cpu, selector: Selector, address: int) -> Descriptor:
    room = _table_of(cpu, selector)[1] + 1 - selector.byte_offset
    raw = target.linear.read(address, 16 if cpu.long_mode and room >= 16 else 8)
    return decode_descriptor(raw[: descriptor_size(raw, cpu.long_mode)], cpu.long_mode)


def read_tss(target: Target) -> Tss:
    """Read the TSS through TR's hidden part, I/O bitmap included, up to its limit."""
    return _read_tss(target, read_told(target, "tr"))


def _read_tss(target: Target, cpu: Cpu) -> Tss:
    tr = cpu.segments["tr"]
    if not tr.present or Selector(tr.selector).null:
        raise CommandError("no TSS: TR holds a null selector; nothing has executed LTR yet")
    size = min(tr.limit, 0xFFFF + WITH_TERMINATOR) + 1
    pieces = read_pages(target.linear, tr.base, size)
    if pieces[0][1] is None:
        target.linear.read(tr.base, size)  # raises, and knows why
    bounds = [address - tr.base for address, _ in pieces] + [size]
    missing = tuple(
        (start, end - 1)
        for (_, raw), start, end in zip(pieces, bounds, bounds[1:], strict=False)
        if raw is None
    )
    joined = b"".join(
        raw if raw is not None else bytes(end - start)
        for (_, raw), start, end in zip(pieces, bounds, bounds[1:], strict=False)
    )
    bits = 64 if cpu.long_mode else 16 if tr.type in (0x1, 0x3) else 32
    return decode_tss(joined, bits, tr.limit, tr.base, missing)


def read_iomap(target: Target) -> IoBitmap:
    """Read the I/O permission bitmap of the current TSS."""
    return read_tss(target).io


def read_port_access(target: Target, port: int, size: int) -> PortAccess:
    """Decide whether an access of 1, 2 or 4 bytes to a port would pass now.

    Raise ``CommandError`` for another size, or a port that there is not.
    """
    if size not in (1, 2, 4):
        raise CommandError(f"an access to a port has 1, 2 or 4 bytes, not {size}")
    if not 0 <= port < PORTS:
        raise CommandError(f"port {port:#x}: ports end at 0xffff")
    cpu = read_told(target, "tr")
    tr = cpu.segments["tr"]
    usable = tr.present and not Selector(tr.selector).null and cpu.mode not in ("real", "unreal")
    bitmap = _read_tss(target, cpu).io if usable else None
    return port_access(cpu, bitmap, port, size)


def read_instructions(target: Target, address: int, count: int, bits: int) -> list[Instruction]:
    """Disassemble ``count`` instructions at a linear address, fewer where memory ends."""
    code = b""
    for _, raw in read_pages(target.linear, address, 15 * count):
        if raw is None:
            break
        code += raw
    if not code:
        code = target.linear.read(address, 15 * count)  # raises, and knows why
    return disassemble(code, address, bits, count)


def read_register(cpu: Cpu, name: str) -> int | None:
    """Look a register up by its lower-case SDM name: gpr, eip, eflags, crN, selectors."""
    name = name.lower()
    if name in cpu.untold.difference(SEGMENTS):
        return None
    if name in cpu.segments:
        return cpu.segments[name].selector
    if name in cpu.gpr:
        return cpu.gpr[name]
    if name == "rip":
        return cpu.eip
    value: int | None = getattr(cpu, name) if name in _CONTROL else None
    return value


def resolve_code(target: Target, symbols: Symbols | None, wanted: str) -> int:
    """Resolve an ADDRESS to stop at, which may be out of reach until the guest enters long mode."""
    return resolve_linear(target, symbols, wanted, target.address_bits)


def resolve_linear(target: Target, symbols: Symbols | None, wanted: str, bits: int = 32) -> int:
    """Resolve an ADDRESS; raise ``CommandError`` as ``resolve`` does, and for a physical one."""
    address = resolve(target, symbols, wanted, bits)
    if address.space != "linear":
        raise CommandError(f"{wanted}: a linear address is wanted here, not a physical one")
    return address.value


def resolve(target: Target, symbols: Symbols | None, wanted: str, bits: int = 32) -> Address:
    """Resolve ``sel:off``, ``symbol+n``, ``file.c:12``, ``0xlinear``, ``phys:0x...``, a register.

    ``bits`` bounds a linear address outside long mode. Raise ``CommandError`` for what is none.
    """
    if _SOURCE_LINE.fullmatch(wanted):
        return Address(_line_address(symbols, wanted), wanted=wanted)
    left, colon, right = wanted.partition(":")
    space: Literal["linear", "physical"] = "linear"
    base = 0
    if colon and left.lower() == "phys":
        space = "physical"
    elif colon:
        base = _segment_base(target, left, wanted)
    value = _offset(target, symbols, right if colon else wanted, wanted)
    wide = space == "physical" or read_cpu(target).long_mode
    top = 1 << (64 if wide else 32 if colon else bits)
    if not -top < value < top or (value < 0 and not colon):
        raise CommandError(f"{wanted}: addresses lie between 0 and {top - 1:#x}")
    return Address((base + value) % top, space, wanted)


def _line_address(symbols: Symbols | None, wanted: str) -> int:
    found = symbols.address(wanted) if symbols else None
    if found is None:
        raise CommandError(f"{wanted}: no code from there on in the image's DWARF (gcc -g)")
    return found


def _offset(target: Target, symbols: Symbols | None, terms: str, wanted: str) -> int:
    first, *rest = re.split(r"([+-])", terms.strip())
    pairs = list(zip(["+", *rest[0::2]], [first, *rest[1::2]], strict=True))
    if not first and len(pairs) > 1:
        del pairs[0]
    values = [(sign, _value(target, symbols, term.strip(), wanted)) for sign, term in pairs]
    return sum(-value if sign == "-" else value for sign, value in values)


def _value(target: Target, symbols: Symbols | None, term: str, wanted: str) -> int:
    if not term:
        raise CommandError(f"{wanted!r} is no address: write symbol+n, sel:off or 0x1000")
    try:
        return int(term, 0)
    except ValueError:
        pass
    found = symbols.address(term) if symbols else None
    if found is None:
        found = read_register(read_cpu(target), term.removeprefix("$"))
    if found is None:
        raise CommandError(f"{wanted}: no symbol {term!r}{_hint(symbols, term)}")
    return found


def _hint(symbols: Symbols | None, term: str) -> str:
    if re.fullmatch("[0-9a-fA-F]+", term):
        return f" (write 0x{term} if it is a number)"
    if symbols is None or not symbols.names():
        return ": there are no symbols, '--symbols ELF' brings them"
    close = difflib.get_close_matches(term, symbols.names(), 3)
    return f": did you mean {' or '.join(close)}?" if close else ": completion (Tab) lists them"


def _segment_base(target: Target, left: str, wanted: str) -> int:
    cpu = read_cpu(target)
    register = cpu.segments.get(left.lower())
    if register is not None:
        if not cpu.real_addressing and cpu.mode != "long" and not register.present:
            raise CommandError(f"{wanted}: {left} is null: there is no segment to look into")
        return register.base
    try:
        value = int(left, 0)
    except ValueError:
        raise CommandError(
            f"{wanted}: {left!r} is no selector and no segment register: write 0x1b or ds"
        ) from None
    if not 0 <= value <= 0xFFFF:
        raise CommandError(f"{wanted}: a selector has 16 bits, and {left} does not fit")
    if cpu.real_addressing:
        return value << 4
    return _selected_base(target, value, wanted)


def _selected_base(target: Target, value: int, wanted: str) -> int:
    info = read_selector(target, value)
    if info.descriptor is None:
        raise CommandError(f"{wanted}: selector {value:#06x}: {info.why}")
    base = getattr(info.descriptor, "base", None)
    if base is None:
        raise CommandError(
            f"{wanted}: selector {value:#06x} is a {info.descriptor.kind}, no segment"
        )
    return int(base)
