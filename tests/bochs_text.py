"""What the debugger of Bochs 2.7 and 3.0 prints, as plain dictionaries. Pure.

Bochs leaves out: P and DPL of code and data segments, D/B of data segments, everything about an
LDT descriptor, parameter counts of gates, and P of gates. ``scaled_limit`` is the limit with G
applied, also for an expand-down segment, where it is not the last byte. A TSS's ``length`` is its
limit, scaled.
"""

import re
from typing import Any

Entry = dict[str, Any]

_HEAD = re.compile(
    r"(?:Descriptor Table|^[gl]dt) \(base=0x([0-9a-f]+), limit=(\d+)\):", re.MULTILINE
)
_ENTRY = re.compile(r"^(?:[GLI]DT|[gl]dt)\[0x([0-9a-f]+)\]=(.*?)\s*$", re.MULTILINE)
_UNKNOWN = re.compile(r"\?\?\? descriptor hi=0x([0-9a-f]+), lo=0x([0-9a-f]+)")
_SEGMENT = re.compile(r"(Code|Data) segment, base=0x([0-9a-f]+), limit=0x([0-9a-f]+), (.*)")
_TSS = re.compile(
    r"(16|32)-Bit TSS \((Available|available|Busy)\) at 0x([0-9a-f]+), length 0x([0-9a-f]+)"
)
_GATE = re.compile(
    r"(?:(16|32)-Bit )?(Call|Task|Interrupt|Trap) Gate target=0x([0-9a-f]+):0x([0-9a-f]+), DPL=(\d)"
)
_REGISTER = re.compile(
    r"^(es|cs|ss|ds|fs|gs|ldtr|tr):0x([0-9a-f]+), dh=0x([0-9a-f]+), dl=0x([0-9a-f]+), valid=(\d+)$"
)
_TABLE_REGISTER = re.compile(r"^(gdtr|idtr):base=0x([0-9a-f]+), limit=0x([0-9a-f]+)$")
_DUMP_LINE = re.compile(r"^0x[0-9a-f]+ <[^>]*>:(.*)$", re.MULTILINE)
_TSS_STACK = re.compile(r"^ss:esp\((\d)\): 0x([0-9a-f]+):0x([0-9a-f]+)", re.MULTILINE)
_TSS_FIELD = re.compile(
    r"\b(cr3|eip|eflags|[ecsdfg]s|e[abcd]x|e[sd]i|e[bs]p|ldt|i/o map): 0x([0-9a-f]+)"
)
_CONTROL = re.compile(
    r"^(CR[0348]|EFER|XCR0)(?:=|: )(?:page fault laddr=)?0x([0-9a-f]+)", re.MULTILINE
)

_BITS = re.compile(r"^(CR0|CR4|EFER|DR6|DR7)=0x([0-9a-f]+): (.*)$", re.MULTILINE)


def parse_info_gdt(text: str) -> Entry:
    """Read ``info gdt``, or a part of it: base, limit, and entries by index."""
    return _table(text, step=8)


def parse_info_ldt(text: str) -> Entry:
    """Read ``info ldt``, as ``parse_info_gdt``."""
    return _table(text, step=1)


def parse_info_idt(text: str) -> Entry:
    """Read ``info idt``, as ``parse_info_gdt``; the entries are gates."""
    return _table(text, step=1)


def parse_info_tss(text: str) -> Entry:
    """Read ``info tss``: the SDM's field names, and selector and base of TR."""
    tr = re.search(r"^tr:s=0x([0-9a-f]+), base=0x([0-9a-f]+), valid=(\d+)", text, re.MULTILINE)
    if tr is None:
        raise ValueError(f"not a TSS: {text[:60]!r}")
    fields: Entry = {"selector": int(tr[1], 16), "base": int(tr[2], 16), "valid": int(tr[3])}
    for ring, ss, esp in _TSS_STACK.findall(text):
        fields |= {f"ss{ring}": int(ss, 16), f"esp{ring}": int(esp, 16)}
    for name, value in _TSS_FIELD.findall(text):
        fields["iomap_base" if name == "i/o map" else name] = int(value, 16)
    return fields


def parse_sreg(text: str) -> Entry:
    """Read ``sreg``: selector, hidden descriptor and validity of each register; GDTR and IDTR.

    ``raw`` is the hidden descriptor as Bochs packs it, in the layout of memory.
    """
    registers: Entry = {}
    for line in text.splitlines():
        if m := _REGISTER.match(line):
            raw = int(m[3], 16) << 32 | int(m[4], 16)
            registers[m[1]] = {"selector": int(m[2], 16), "raw": raw, "valid": int(m[5])}
        elif m := _TABLE_REGISTER.match(line):
            registers[m[1]] = {"base": int(m[2], 16), "limit": int(m[3], 16)}
    return registers


def parse_creg(text: str) -> dict[str, int]:
    """Read ``creg``: cr0, cr2, cr3, cr4, cr8, efer, xcr0."""
    values = {name.lower(): int(value, 16) for name, value in _CONTROL.findall(text)}
    if m := re.search(r"^CR2=page fault laddr=0x([0-9a-f]+)", text, re.MULTILINE):
        values["cr2"] = int(m[1], 16)
    return values


def parse_bits(text: str) -> dict[str, tuple[int, dict[str, int]]]:
    """Parse the named bits of ``creg`` and ``dreg``, highest first: upper case where they are 1."""
    return {
        name.lower(): (
            int(value, 16),
            {word.lower(): int(word.isupper()) for word in words.split() if word.isalnum()},
        )
        for name, value, words in _BITS.findall(text)
    }


def parse_registers(text: str) -> dict[str, int]:
    """Read ``r``: general registers under their 64-bit names, ``rip`` and ``eflags``."""
    found = re.findall(r"^(r\w{1,2}) ?: ([0-9a-f]{8})_([0-9a-f]{8})$", text, re.MULTILINE)
    registers = {name: int(high + low, 16) for name, high, low in found}
    if m := re.search(r"^eflags:? 0x([0-9a-f]+)", text, re.MULTILINE):
        registers["eflags"] = int(m[1], 16)
    return registers


def parse_memory_dump(text: str) -> bytes:
    """Read ``x /Nbx``, ``/Nhx`` or ``/Nwx`` (and ``xp``) as the bytes in memory.

    ``/Ngx`` is of no use: Bochs drops leading zeros there, and prints zero as a word.
    """
    if "physical address not available" in text:
        raise ValueError(text.strip().splitlines()[-1])
    words = [word for line in _DUMP_LINE.findall(text) for word in line.split()]
    if len({len(word) for word in words}) > 1:
        raise ValueError("words of different widths: ask for b, h or w")
    return b"".join(int(word, 16).to_bytes((len(word) - 2) // 2, "little") for word in words)


def _table(text: str, step: int) -> Entry:
    head = _HEAD.search(text)
    if head is None:
        raise ValueError(f"not a table: {text[:60]!r}")
    entries = {int(at, 16) // step: parse_entry(entry) for at, entry in _ENTRY.findall(text)}
    return {"base": int(head[1], 16), "limit": int(head[2]), "entries": entries}


def parse_entry(text: str) -> Entry:
    """Read one descriptor or gate."""
    if text == "<null entry>":
        return {"kind": "empty", "raw": 0}
    if m := _UNKNOWN.match(text):
        raw = int(m[1], 16) << 32 | int(m[2], 16)
        return {"kind": "reserved" if raw else "empty", "raw": raw}
    if m := _SEGMENT.match(text):
        return _code_or_data(m[1], int(m[2], 16), int(m[3], 16), m[4].split(", "))
    if m := _TSS.match(text):
        return {
            "kind": f"tss{m[1]}",
            "busy": m[2] == "Busy",
            "base": int(m[3], 16),
            "length": int(m[4], 16),
        }
    if m := _GATE.match(text):
        gate: Entry = {"kind": f"{m[2].lower()}-gate", "target_selector": int(m[3], 16)}
        gate |= {"offset": int(m[4], 16), "dpl": int(m[5])}
        return gate | ({"bits": int(m[1])} if m[1] else {})
    if text.strip() == "LDT":
        return {"kind": "ldt"}
    raise ValueError(f"not an entry: {text!r}")


def _code_or_data(kind: str, base: int, limit: int, words: list[str]) -> Entry:
    entry: Entry = {"kind": kind.lower(), "base": base, "scaled_limit": limit}
    entry["accessed"] = "Accessed" in words
    if kind == "Code":
        entry["readable"] = "Execute/Read" in words
        entry["conforming"] = "Conforming" in words
        entry["db"] = int("32-bit" in words)
    else:
        entry["writable"] = "Read/Write" in words
        entry["expand_down"] = "Expand-down" in words
    return entry
