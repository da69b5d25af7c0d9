"""QEMU's ``info registers`` text, also as ``-d int`` and ``-d cpu_reset`` log it, to a Cpu."""

import re
from collections.abc import Iterable, Iterator

from klosdbg.errors import ProtocolError
from klosdbg.wire.kvmregs import rewrite_kvm_dump
from klosdbg.x86.cpu import SEGMENTS, Cpu, SegmentRegister, TableRegister

_PAIR = re.compile(r"\b([A-Z][A-Z0-9]{1,3})\s*=\s*([0-9a-fA-F]+)\b")
_SEGMENT = re.compile(
    r"^(ES|CS|SS|DS|FS|GS|LDT|TR) *=\s*([0-9a-fA-F]{1,4}) ([0-9a-fA-F]{8,16}) ([0-9a-fA-F]{8})"
    r" ([0-9a-fA-F]{8})",
    re.MULTILINE,
)
_TABLE = re.compile(r"^(GDT|IDT)=\s+([0-9a-fA-F]{8,16}) ([0-9a-fA-F]{8})", re.MULTILINE)
_EFER = re.compile(r"\bEFER=([0-9a-fA-F]{1,16})\b")
_LONG_MODE = 0x500
"""EFER.LME and LMA: QEMU writes RIP in long mode only, so they hold where it wrote no EFER."""
_FIRST = re.compile(r"[ER](AX|IP) *=")
_NOT_REGISTERS = "this is no 'info registers' text: EIP, EFL, CS or CR0 is missing"
_NAMES = {"LDT": "ldtr", "TR": "tr"}
_GPR32 = ("EAX", "EBX", "ECX", "EDX", "ESI", "EDI", "EBP", "ESP")
_GPR64 = ("RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", *(f"R{n}" for n in range(8, 16)))


def parse_info_registers(text: str) -> Cpu:
    """Parse one processor's registers; raise ``ProtocolError`` where the text is not that.

    Rows that are missing (old versions print no EFER, KVM may leave out rows) count as zero, but
    CS, EIP or RIP, and CR0 have to be there.
    """
    cpu, missing = _parse(text.replace("\r\n", "\n"))
    if {"CS", "CR0"} & set(missing):
        raise ProtocolError(_NOT_REGISTERS)
    return cpu


def parse_dumps(text: str) -> tuple[tuple[Cpu, tuple[str, ...]], ...]:
    """Parse every register dump of a log, each with the names of the rows that it lacks.

    A dump begins at EAX or RAX, or at EIP or RIP where those are missing. Raise ``ProtocolError``
    where there is none, or one without EFL or RFL.
    """
    lines = (row for line in text.splitlines() for row in rewrite_kvm_dump(line.strip()))
    dumps = tuple(map(_parse, _cut(lines)))
    if not dumps:
        raise ProtocolError(_NOT_REGISTERS)
    return dumps


def _cut(lines: Iterable[str]) -> Iterator[str]:
    dump: list[str] = []
    counted = False
    for line in lines:
        first = _FIRST.match(line)
        if first and (first[1] == "AX" or counted or not dump):
            if dump:
                yield "\n".join(dump)
            dump, counted = [], False
        if first or dump:
            dump.append(line)
            counted |= bool(first and first[1] == "IP")
    if dump:
        yield "\n".join(dump)


def _parse(text: str) -> tuple[Cpu, tuple[str, ...]]:
    segments = {_NAMES.get(m[1], m[1].lower()): _segment(m) for m in _SEGMENT.finditer(text)}
    tables = {m[1]: TableRegister(int(m[2], 16), int(m[3], 16)) for m in _TABLE.finditer(text)}
    values = {m[1]: int(m[2], 16) for m in _PAIR.finditer(text)}
    efer = _EFER.search(text)
    wide = "RIP" in values
    pc = values.get("RIP" if wide else "EIP")
    flags = values.get("RFL" if wide else "EFL")
    if pc is None or flags is None:
        raise ProtocolError(_NOT_REGISTERS)
    missing = [n.upper() for n in SEGMENTS if n not in segments]
    missing += [n for n in ("LDT", "TR") if _NAMES[n] not in segments]
    missing += [n for n in ("GDT", "IDT") if n not in tables]
    missing += [n for n in ("CR0", "CR2", "CR3", "CR4", "EFER") if n not in values]
    for name in (*SEGMENTS, "ldtr", "tr"):
        segments.setdefault(name, SegmentRegister(name, 0, 0, 0, 0))
    none = TableRegister(0, 0)
    cpu = Cpu(
        gpr={n.lower(): values.get(n, 0) for n in (_GPR64 if wide else _GPR32)},
        eip=pc,
        eflags=flags,
        cpl=_cpl(text),
        segments=segments,
        gdtr=tables.get("GDT", none),
        idtr=tables.get("IDT", none),
        cr0=values.get("CR0", 0),
        cr2=values.get("CR2", 0),
        cr3=values.get("CR3", 0),
        cr4=values.get("CR4", 0),
        efer=int(efer[1], 16) if efer else _LONG_MODE if wide else 0,
        dr={n: values[f"DR{n}"] for n in range(8) if f"DR{n}" in values},
        a20=_flag(text, "A20", True),
        smm=_flag(text, "SMM", False),
        hlt=_flag(text, "HLT", False),
    )
    return cpu, tuple(missing)


def _segment(match: re.Match[str]) -> SegmentRegister:
    name = _NAMES.get(match[1], match[1].lower())
    selector, base, limit, flags = (int(match[i], 16) for i in range(2, 6))
    return SegmentRegister(name, selector, base, limit, flags)


def _cpl(text: str) -> int:
    match = re.search(r"\bCPL=(\d)", text)
    return int(match[1]) if match else 0


def _flag(text: str, name: str, default: bool) -> bool:
    match = re.search(rf"\b{name}=([01])", text)
    return match[1] == "1" if match else default
