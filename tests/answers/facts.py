"""Models of klosdbg put into the words that the cases use."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from klosdbg.wire.inforegs import parse_dumps
from klosdbg.x86.cpu import Cpu, SegmentRegister, TableRegister
from klosdbg.x86.descriptor import (
    Descriptor,
    Gate,
    Reserved,
    Segment,
    SystemSegment,
    decode_descriptor,
)
from klosdbg.x86.errorcode import ErrorCode, decode_error_code
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import Flags, decode_eflags
from klosdbg.x86.paging import PageEntry
from klosdbg.x86.selector import Selector, decode_selector

Facts = dict[str, Any]
Answer = Callable[[Facts], Facts]

_GATES = {"task-gate": "TaskGate", "call-gate": "CallGate"}


def number(value: str | int) -> int:
    """Read a number of a case."""
    return value if isinstance(value, int) else int(value, 0)


def set_bits(flags: Flags) -> list[int]:
    """List the bits that are 1: those of named fields, and those without a name."""
    raw = sum(flags.fields[field.name] << field.low for field in flags.layout.fields)
    raw |= flags.reserved ^ flags.layout.ones
    return [number for number in range(64) if raw >> number & 1]


def raw_descriptor(pair: Facts) -> bytes:
    """Read a descriptor that a case gives as a quadword or as two doublewords."""
    if "qword" in pair:
        return number(pair["qword"]).to_bytes(8, "little")
    return b"".join(number(pair[half]).to_bytes(4, "little") for half in ("lo", "hi"))


def descriptor_facts(pair: Facts, long_mode: bool = False) -> Facts:
    """Answer what a descriptor is, with the case's own label for it."""
    descriptor = decode_descriptor(raw_descriptor(pair), long_mode)
    where = {"where": pair["where"]} if "where" in pair else {}
    return {**where, **_fields(descriptor), **_meaning(descriptor)}


def _fields(descriptor: Descriptor) -> Facts:
    assert isinstance(descriptor, Segment | SystemSegment | Reserved)
    s = isinstance(descriptor, Segment)
    access = descriptor.present << 7 | descriptor.dpl << 5 | s << 4 | descriptor.type
    common = {
        "access": access,
        "P": descriptor.present,
        "DPL": descriptor.dpl,
        "S": s,
        "type": descriptor.type,
    }
    if isinstance(descriptor, Reserved):
        return {**common, **_reserved_fields(descriptor)}
    return {
        **common,
        "base": descriptor.base,
        "limit_field": descriptor.limit,
        "G": descriptor.g,
        "effective_limit": descriptor.last_byte,
        "D": descriptor.db,
        "L": descriptor.l,
        "AVL": descriptor.avl,
    }


def _reserved_fields(reserved: Reserved) -> Facts:
    limit = reserved.low & 0xFFFF | (reserved.high & 0xF) << 16
    flags = {name: reserved.high >> at & 1 for at, name in enumerate(("AVL", "L", "D", "G"), 4)}
    return {
        "base": reserved.low >> 16 | reserved.high >> 8 << 24,
        "limit_field": limit,
        "effective_limit": limit << 12 | 0xFFF if flags["G"] else limit,
        **flags,
    }


def _meaning(descriptor: Descriptor) -> Facts:
    if not isinstance(descriptor, Segment):
        return {"kind": "system", "system_type": system_type(descriptor)}
    if descriptor.executable:
        width = 64 if descriptor.l else 32 if descriptor.db else 16
        own = {
            "conforming": descriptor.conforming,
            "readable": descriptor.readable,
            "bits": width,
        }
    else:
        own = {"expand_down": descriptor.expand_down, "writable": descriptor.writable}
    return {"kind": descriptor.kind, "accessed": descriptor.accessed, **own}


def system_type(descriptor: Descriptor) -> str:
    """Name a system descriptor as the cases do."""
    if isinstance(descriptor, SystemSegment) and descriptor.kind != "ldt":
        return f"{descriptor.kind.upper()}-{'busy' if descriptor.busy else 'avl'}"
    if isinstance(descriptor, Reserved):
        return "Reserved" if descriptor.type else "Reserved(hi-half)"
    return descriptor.kind.upper()


def gate_facts(pair: Facts) -> Facts:
    """Answer what a gate is."""
    gate = decode_descriptor(raw_descriptor(pair))
    assert isinstance(gate, Gate)
    return {
        "offset": gate.offset,
        "selector": gate.target_selector,
        "P": gate.present,
        "DPL": gate.dpl,
        "S": 0,
        "type": gate.type,
        "name": _GATES[gate.kind],
        "param_count": gate.params,
    }


def selector_facts(value: str | int | Selector) -> Facts:
    """Answer what a selector selects."""
    selector = value if isinstance(value, Selector) else decode_selector(number(value))
    return {
        "index": selector.index,
        "TI": selector.table.upper(),
        "RPL": selector.rpl,
        "byte_offset": selector.byte_offset,
    }


def error_facts(value: str | int, vector: int = 13) -> Facts:
    """Answer what an error code of the selector form names."""
    code = decode_error_code(number(value), vector)
    return {
        "EXT": code.ext,
        "IDT": code.idt,
        "TI": code.ti,
        "table": code.table.upper(),
        "index": code.index,
        "selector_or_vector": code.index if code.selector is None else code.selector,
    }


def page_fault_facts(code: ErrorCode) -> Facts:
    """Answer what a page fault's error code says."""
    names = {"P": "p", "W": "w", "U": "u", "RSVD": "rsvd", "ID": "i"}
    return {theirs: code.fields[ours] for theirs, ours in names.items()}


def entry_facts(entry: PageEntry) -> Facts:
    """Answer what a paging entry holds, bit by bit."""
    wide = {} if entry.narrow else {"high_avl": entry.high_avl, "NX": entry.nx}
    return {
        "P": entry.present,
        "RW": entry.writable,
        "US": entry.user,
        "PWT": entry.pwt,
        "PCD": entry.pcd,
        "A": entry.accessed,
        "D": entry.dirty,
        "b7": entry.bit7,
        "G": entry.global_,
        "avl": entry.avl,
        "frame": entry.frame,
        **wide,
    }


def only_cpu(text: str) -> Cpu:
    """Parse the one register dump of a text."""
    ((cpu, _missing),) = parse_dumps(text)
    return cpu


def eflags_label(raw: int) -> str:
    """Write the flags as QEMU does beside EFL."""
    fields = decode_eflags(raw).fields
    names = {"D": "df", "O": "of", "S": "sf", "Z": "zf", "A": "af", "P": "pf", "C": "cf"}
    return f"[{''.join(letter if fields[name] else '-' for letter, name in names.items())}]"


def qemu_label(register: SegmentRegister) -> str:
    """Write a hidden part as QEMU does behind its flags."""
    descriptor = register.descriptor
    assert isinstance(descriptor, Segment)
    if descriptor.executable:
        width = 64 if descriptor.l else 32 if descriptor.db else 16
        first, second = descriptor.conforming, descriptor.readable
        letters = "CR"
    else:
        width, letters = (0 if descriptor.db else 16), "EW"
        first, second = descriptor.expand_down, descriptor.writable
    flags = zip((first, second, descriptor.accessed), letters + "A", strict=True)
    shown = "".join(letter if holds else "-" for holds, letter in flags)
    return f"{'CS' if descriptor.executable else 'DS'}{width or '  '} [{shown}]"


def table_facts(register: TableRegister, size: int = 8) -> Facts:
    """Answer where a table lies, and whether its limit is that of whole entries."""
    whole = (register.limit + 1) % size == 0
    return {"base": register.base, "limit": register.limit, "is_8n_minus_1": whole}


def rules(found: Iterable[Finding]) -> list[str]:
    """Name the rules that findings break."""
    return [finding.rule for finding in found]


def found(pattern: str, text: str) -> Iterator[int]:
    """Find the hexadecimal numbers that a pattern's first group matches."""
    return (int(match[1], 16) for match in re.finditer(pattern, text))
