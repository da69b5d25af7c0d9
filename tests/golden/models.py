"""Models with a fixed content, one or more for each view, without a guest."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from klosdbg.models import (
    Address,
    BreakpointInfo,
    BreakpointList,
    ConsoleText,
    Listing,
    MemoryDump,
    Running,
    SegmentState,
    SegmentStates,
    SelectorInfo,
    Stop,
    SymbolInfo,
    Written,
)
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.x86.control import decode_control
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import decode_descriptor
from klosdbg.x86.disasm import disassemble
from klosdbg.x86.iobitmap import port_access
from klosdbg.x86.selector import Selector
from klosdbg.x86.table import Entry, Table, decode_ivt, decode_table
from klosdbg.x86.tss import decode_tss
from tests.golden.registers import LONG, PROTECTED, REAL
from tests.golden.silicon_models import silicon
from tests.golden.task_models import task_lists

SYMBOLS = {0x101000: "gdt", 0x103E60: "page_fault", 0x103D4C: "return_gate", 0x10C760: "klos_ready"}


def symbol(address: int) -> str | None:
    """Name an address within 256 bytes of a symbol."""
    for start, name in SYMBOLS.items():
        if start <= address < start + 256:
            return f"{name}+{address - start:#x}" if address > start else name
    return None


def words(*numbers: int, size: int = 8) -> bytes:
    """Lay numbers out in memory."""
    return b"".join(number.to_bytes(size, "little") for number in numbers)


def table(kind: str, raw: bytes, limit: int | None = None, **more: object) -> Table:
    """Decode a table at 0x101000."""
    last = len(raw) - 1 if limit is None else limit
    return decode_table(kind, 0x101000, last, [(0x101000, raw)], **more)  # type: ignore[arg-type]


FREE = 0x0000_7200_0000_0000
GDT = words(
    0,
    0x00CF9B000000FFFF,
    0x00CF93000000FFFF,
    0x00CFF9000000FFFF,
    0x0040F3000000FFFF | 0x000B << 48,
    0xFF008B800F982068,
    0x0000821A0000FFFF,
    0x0010EC0000083D4C,
    0x1234E46500081234,
    0x0000E50000280000,
    0x00CFF7000000FFFF,
    0x0000F70000000FFF,
    0x00009E0000000000,
    0x00208D0000000000,
    *[FREE] * 8,
)
LONG_GDT = words(0, 0x00AF9B000000FFFF, 0x00008B0010000067, 0xFFFF8000, 0x0000EC0000083D4C, 0xFFFF)
IDT = words(
    *[0x00108E0000083E60] * 3,
    0x0010EE0000083E64,
    *[0] * 4,
    0x0000850000400000,
    0x00108F0000083E60,
    0x123486FF00081234,
    *[0x00108E0000083E60] * 5,
)
NAMES = {3: "csos", 4: "dsapp", 7: "gate"}
BASES = {8: 0}


def tables() -> Iterator[tuple[str, object]]:
    """Yield tables and their entries."""
    gdt = replace(table("gdt", GDT, names=NAMES), bases=BASES)
    yield "gdt", gdt
    yield "gdt-one", gdt.only(3)
    yield "gdt-gate", gdt.only(7)
    yield "gdt-cut", table("gdt", GDT[:24], limit=0x1C)
    yield "gdt-empty", table("gdt", b"", limit=0)
    yield "gdt-long", table("gdt", LONG_GDT, long_mode=True)
    yield "gdt-holes", decode_table("gdt", 0x101000, 0x1FFF, [(0x101000, None), (0x102000, GDT)])
    yield "ldt", table("ldt", words(*[FREE] * 16))
    yield "idt", table("idt", IDT)
    yield "idt-long", table("idt", words(0x00108E0100083E60, 0xFFFF8000), long_mode=True)
    yield "ivt", decode_ivt(0, words(*[0xF000FF53] * 8, 0xFFFFC770, *[0] * 247, size=4))
    for index in (0, 3, 5, 8, 9, 10, 11, 13):
        yield f"entry-{index}", Entry(index, gdt.expanded().entries[index].descriptor)


def registers() -> Iterator[tuple[str, object]]:
    """Yield registers and what is said of them."""
    cpu = parse_info_registers(PROTECTED)
    yield "regs", cpu
    yield "regs-real", parse_info_registers(REAL)
    yield "regs-long", parse_info_registers(LONG)
    yield "cr", decode_control(cpu)
    yield "cr-one", decode_control(cpu).only("cr0")
    yield "cr-long", decode_control(parse_info_registers(LONG))
    odd = replace(cpu, cr0=0x2000_0010, cr4=0x2_0000, cr2=0x101004, dr={1: 0x1002, 7: 0x00D0_040C})
    yield "cr-odd", decode_control(odd)
    yield "sregs", SegmentStates(tuple(_states(cpu)))
    code = decode_descriptor(GDT[24:32])
    yield "sel", SelectorInfo(Selector(0x1B), 0x101018, code, ("cs",), "csos")
    yield "sel-gate", SelectorInfo(Selector(0x38), 0x101038, decode_descriptor(GDT[56:64]), ())
    past = "past the LDT's limit 0x7: loading it raises #GP"
    yield "sel-past", SelectorInfo(Selector(0x1F), None, None, (), why=past)
    yield "sel-real", SelectorInfo(Selector(0x1234), None, None, ("ds",), None, "real", 0, True)


def _states(cpu: Cpu) -> Iterator[SegmentState]:
    code, data = decode_descriptor(GDT[24:32]), decode_descriptor(GDT[32:40])
    yield SegmentState("cs", cpu.segments["cs"], code, cpu.segments["cs"].differences(code))
    yield SegmentState("ds", cpu.segments["ds"], data, cpu.segments["ds"].differences(data))
    yield SegmentState("fs", cpu.segments["fs"], None, (), "null selector")
    why = "its entry is not mapped: loading it raises #PF"
    yield SegmentState("ldtr", cpu.segments["ldtr"], None, (), why)


def tasks() -> Iterator[tuple[str, object]]:
    """Yield TSSs, bitmaps and accesses to ports."""
    bitmap = bytes([0xFF] * 7 + [0xFE, 0x0F] + [0xFF] * 8)
    raw = bytearray(104 + 32) + bitmap
    raw[4:10] = words(0xC01B3000, size=4) + words(0x10, size=2)
    raw[102:104] = words(136, size=2)
    tss = decode_tss(bytes(raw), 32, len(raw) - 1, 0x101000)
    yield "tss-32", tss
    yield "tss-16", decode_tss(bytes(range(44)), 16, 43, 0x101000)
    yield "tss-64", decode_tss(bytes(104), 64, 103, 0xFFFF_8000_0010_1000)
    yield "tss-short", decode_tss(bytes(raw[:40]), 32, 39, 0x101000)
    yield "iomap", tss.io
    cpu = parse_info_registers(PROTECTED)
    for port, size in ((0x38, 1), (0x38, 2), (0xF000, 1)):
        yield f"port-{port:x}-{size}", port_access(cpu, tss.io, port, size)
    yield "port-real", port_access(parse_info_registers(REAL), None, 0x3F8, 1)


def session() -> Iterator[tuple[str, object]]:
    """Yield what a session shows."""
    code = bytes.fromhex("a114601800 83c802 e8e2baffff c3 ff")
    listed = tuple(disassemble(code, 0x10C760, 32, 4))
    stop = Stop("breakpoint", 0x1B, 0xC760, 0x10C760, 3, "klos_ready", 2, listed[0])
    yield "stop", stop
    yield "stop-flat", replace(stop, reason="step", eip=0x10C760, breakpoint=None, symbol=None)
    yield "running", Running()
    text = bytes(range(0x41, 0x41 + 40))
    yield "mem", MemoryDump(Address(0x10C760), text)
    yield "mem-words", MemoryDump(Address(0x10C764), text, 4)
    yield "mem-physical", MemoryDump(Address(0x1000, "physical"), text, 8)
    yield "dis", Listing(32, listed, 0x10C765)
    yield "sym", SymbolInfo("klos_ready", 0x10C760)
    breakpoint = BreakpointInfo(1, 0x10C760, "klos_ready", 3)
    yield "breakpoint", breakpoint
    yield "breakpoints", BreakpointList((breakpoint, BreakpointInfo(12, 0x5000, "cs:0", 0)))
    yield "breakpoints-none", BreakpointList(())
    yield "breakpoints-gdb", BreakpointList((breakpoint,), (0x5000, 0x6000))
    yield "written", Written("eax", "0x1", "0x2a")
    yield "console", ConsoleText(b"KLOS\r\n\x1b[31mred\x07 \xff\n")


FAMILIES: tuple[Callable[[], Iterator[tuple[str, object]]], ...] = (
    tables,
    registers,
    tasks,
    session,
    silicon,
    task_lists,
)
MODELS = {name: model for family in FAMILIES for name, model in family()}
