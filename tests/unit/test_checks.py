"""Each rule of the checks finds what breaks it, and a sound structure breaks none."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.x86.checks import (
    check_cpu,
    check_descriptor,
    check_gate,
    check_page_entry,
    check_table,
    check_tss,
    check_walk,
)
from klosdbg.x86.cpu import Cpu, TableRegister
from klosdbg.x86.descriptor import decode_descriptor, decode_gate
from klosdbg.x86.paging import Paging, decode_pte, walk
from klosdbg.x86.table import TableKind, decode_table
from klosdbg.x86.tss import decode_tss

SOUND = """\
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
EIP=00100000 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
CS =0008 00000000 ffffffff 00cf9a00 DPL=0 CS32 [-R-]
SS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT
TR =0018 00104000 00000067 00008b00 DPL=0 TSS32-busy
GDT=     00101000 0000001f
IDT=     00102000 000007ff
CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000
EFER=0000000000000000
"""


def rules(raw: str, long_mode: bool = False) -> list[str]:
    value = int(raw, 16)
    size = 16 if len(raw) > 16 else 8
    descriptor = decode_descriptor(value.to_bytes(size, "little"), long_mode)
    return [f.rule for f in check_descriptor(descriptor, long_mode=long_mode)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("00cf9a000000ffff", []),
        ("00cf92000000ffff", []),
        ("0000000000000000", []),
        ("00ef9a000000ffff", ["segment-l"]),
        ("00af9a000000ffff", ["segment-l"]),
        ("00af92000000ffff", ["data-l", "stack-uses-sp"]),
        ("008f93000000ffff", ["stack-uses-sp"]),
        ("000f92000000ffff", ["stack-uses-sp"]),
        ("008f91000000ffff", []),
        ("000092000000ffff", []),
        ("008f96000000fff0", ["expand-down-empty"]),
        ("00cffe000000ffff", ["conforming-dpl"]),
        ("000f96000000ffff", ["expand-down-empty"]),
        ("01cf92000000ffff", ["segment-wraps"]),
        ("0000890000000067", []),
        ("0000890000000066", ["tss-limit"]),
        ("0000890000000068", ["tss-limit-size"]),
        ("000081000000002b", []),
        ("000081000000002c", ["tss-limit-size"]),
        ("000082000000001f", []),
        ("0000820000000068", ["table-limit"]),
        ("0060890000000067", ["system-reserved"]),
        ("00808b0000000001", []),
        ("00cf8b000000ffff", ["s-forgotten", "system-reserved"]),
        ("0000880000000067", ["reserved-type"]),
        ("000000000020fb00", ["halves-swapped"]),
        ("00008c0000080000", []),
        ("00008c2000080000", ["gate-reserved"]),
        ("00008c0000000000", ["gate-selector"]),
        ("00008e0000080000", ["gate-table"]),
        ("0000850000040000", ["gate-selector"]),
        ("1234840000080000", ["gate-reserved"]),
    ],
)
def test_descriptors(raw: str, expected: list[str]) -> None:
    """Rules about a descriptor alone, outside long mode."""
    assert rules(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("00af9a000000ffff", []),
        ("00ef9a000000ffff", ["segment-l"]),
        ("0000000000000001" + "0000890000000067", []),
        ("0000000100000001" + "0000890000000067", ["system-reserved"]),
        ("0000000000008000" + "0000890000000067", ["base-canonical"]),
        ("0000000000008000" + "00008c0000080000", ["offset-canonical"]),
    ],
)
def test_descriptors_of_long_mode(raw: str, expected: list[str]) -> None:
    """Rules about a descriptor alone, in long mode."""
    assert rules(raw, long_mode=True) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("00008e0000080000", []),
        ("0000850000180000", []),
        ("00008c0000080000", ["gate-table"]),
        ("00cf9a000000ffff", ["gate-type"]),
        ("00008e0100080000", ["gate-reserved"]),
        ("0000000000000000", []),
    ],
)
def test_gates_of_the_idt(raw: str, expected: list[str]) -> None:
    """Rules about an IDT entry."""
    gate = decode_gate(int(raw, 16).to_bytes(8, "little"))
    assert [f.rule for f in check_gate(gate)] == expected


@pytest.mark.parametrize(
    ("kind", "base", "limit", "raw", "expected"),
    [
        ("gdt", 0x1000, 0xF, bytes(8) + bytes.fromhex("ffff0000009acf00"), []),
        ("gdt", 0x1000, 0x13, bytes(20), ["table-limit"]),
        ("gdt", 0x1001, 0x10, bytes(17), ["table-limit", "table-alignment"]),
        ("gdt", 0x1000, 0x7, bytes.fromhex("ffff0000009acf00"), ["null-slot"]),
        ("ldt", 0x1000, 0x7, bytes.fromhex("ffff0000009acf00"), []),
        ("idt", 0x1000, 0x7FF, bytes(0x800), []),
        ("idt", 0x1000, 0xFFF, bytes(0x1000), ["idt-limit"]),
        (
            "gdt",
            0xC000_0000,
            0xF,
            bytes(8) + bytes.fromhex("67000010 10890000"),
            ["base-high-byte"],
        ),
        ("gdt", 0xC000_0000, 0xF, bytes(8) + bytes.fromhex("67000010108900c0"), []),
        (
            "idt",
            0x1000,
            14 * 8 + 7,
            bytes(14 * 8) + bytes.fromhex("0000080000ee0000"),
            ["gate-dpl"],
        ),
    ],
)
def test_tables(kind: TableKind, base: int, limit: int, raw: bytes, expected: list[str]) -> None:
    """Rules about a table, and about an entry in it."""
    table = decode_table(kind, base, limit, [(base, raw)])
    assert [f.rule for f in check_table(table)] == expected


def tss_rules(
    limit: int = 0x67, ss0: int = 0x10, esp0: int = 0x8_0000, iomap: int = 0x68
) -> list[str]:
    raw = bytearray(max(limit + 1, 104))
    raw[4:8] = esp0.to_bytes(4, "little")
    raw[8:10] = ss0.to_bytes(2, "little")
    raw[102:104] = iomap.to_bytes(2, "little")
    return [f.rule for f in check_tss(decode_tss(bytes(raw), 32, limit, 0x4000))]


def test_tss() -> None:
    """Rules about a TSS: its limit, the ring-0 stack, the I/O bitmap."""
    assert tss_rules() == []
    assert tss_rules(limit=0x66) == ["tss-limit"]
    assert tss_rules(limit=0x68, iomap=0x80) == ["tss-limit-size"]
    assert tss_rules(ss0=0) == ["ss0-null"]
    assert tss_rules(esp0=0x4068) == ["stack-in-tss"]
    assert tss_rules(esp0=0x4069) == []
    assert tss_rules(iomap=0) == ["iomap-overlay"]
    assert tss_rules(iomap=0x68, limit=0x88) == ["iomap-terminator"]
    assert tss_rules(iomap=0xE000, limit=0xE010) == ["iomap-base", "iomap-terminator"]


def cpu(**changes: object) -> Cpu:
    return replace(parse_info_registers(SOUND), **changes)  # type: ignore[arg-type]


def segment(name: str, **changes: int) -> Callable[[Cpu], Cpu]:
    def change(state: Cpu) -> Cpu:
        return replace(
            state, segments={**state.segments, name: replace(state.segments[name], **changes)}
        )

    return change


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (cpu(), []),
        (cpu(cr0=0x8000_0010), ["pg-without-pe"]),
        (cpu(cr0=0x2000_0011), ["nw-without-cd"]),
        (cpu(efer=0x100, cr0=0x8000_0011), ["long-without-pae"]),
        (cpu(efer=0x500), ["lma"]),
        (cpu(efer=0x100, cr0=0x8000_0011, cr4=0x20), ["lma"]),
        (cpu(cr4=0x2_0000), ["pcide-without-lma"]),
        (cpu(cr4=0x80_0000), ["cet-without-wp"]),
        (cpu(cr4=0x80_0000, cr0=0x1_0011), []),
        (cpu(dr={0: 0x1001, 7: 0x5_0401}), ["breakpoint-alignment"]),
        (cpu(dr={0: 0x1002, 7: 0x5_0401}), []),
        (cpu(dr={0: 0x1001, 7: 0x5_0400}), []),
        (cpu(dr={1: 0x1001, 7: 0x40_0408}), ["breakpoint-length"]),
        (cpu(dr={2: 0x60, 7: 0x200_0410}), ["breakpoint-io"]),
        (cpu(dr={2: 0x60, 7: 0x200_0410}, cr4=8), []),
        (cpu(eflags=0), ["eflags-reserved"]),
        (cpu(gdtr=TableRegister(0x1001, 0x20)), ["table-limit", "table-alignment"]),
        (cpu(idtr=TableRegister(0, 0x3FF)), ["idt-is-ivt"]),
        (cpu(idtr=TableRegister(0, 0)), ["idt-empty"]),
        (cpu(idtr=TableRegister(0, 1)), ["table-limit", "idt-empty"]),
        (cpu(idtr=TableRegister(0, 0xFFFF)), ["idt-reset"]),
        (cpu(idtr=TableRegister(0, 0xFFFF), gdtr=TableRegister(0, 0xFFFF)), ["idt-reset"]),
        (cpu(idtr=TableRegister(0x10_1000, 0x1F)), ["idt-is-gdt"]),
        (cpu(idtr=TableRegister(0x10_1000, 0x7FF)), ["idt-is-gdt"]),
        (cpu(cr0=0x10, eflags=0x2_0002), ["vm-mode"]),
        (cpu(cr0=0x11, cr4=0x20, efer=0x100), []),
        (cpu(cr0=0x8001_0011, cr4=0x80_0020), []),
        (segment("cs", flags=0xCF9300)(cpu()), ["cs-type"]),
        (segment("cs", flags=0xEF9A00)(cpu()), ["cs-l-and-d", "cs-l"]),
        (segment("cs", flags=0xCF1A00)(cpu()), ["cs-present"]),
        (segment("cs", selector=0x0B)(cpu()), ["cs-rpl"]),
        (segment("ss", flags=0xCF1300)(cpu()), ["ss-present"]),
        (segment("ss", flags=0xCFF300)(cpu()), ["ss-dpl"]),
        (segment("ss", flags=0xCF9100)(cpu()), ["ss-type"]),
        (segment("ss", flags=0x8F9300)(cpu()), ["stack-uses-sp"]),
        (segment("ss", flags=0x9300, limit=0xFFFF)(cpu()), []),
        (segment("tr", selector=0)(cpu()), ["tr-null"]),
        (segment("tr", flags=0x8200)(cpu()), ["tr-type"]),
        (segment("tr", flags=0x8900)(cpu()), ["tr-not-busy"]),
        (segment("tr", flags=0x8100)(cpu()), ["tr-not-busy"]),
        (segment("tr", flags=0x408B00)(cpu()), ["system-reserved"]),
        (segment("ldtr", selector=0x20, flags=0x8200)(cpu()), []),
        (segment("ldtr", selector=0x20, flags=0x9200)(cpu()), ["ldtr-type"]),
        (segment("ldtr", selector=0x20, flags=0x208200)(cpu()), ["system-reserved"]),
        (segment("tr", limit=0x66)(cpu()), ["tss-limit"]),
        (segment("tr", limit=0x68)(cpu()), ["tss-limit-size"]),
        (segment("cs", base=0x1234)(cpu(eflags=0x2_0002)), ["v86-segment"]),
    ],
)
def test_cpu(state: Cpu, expected: list[str]) -> None:
    """Rules about registers taken together."""
    found = [f.rule for f in check_cpu(state)]
    assert sorted(set(found)) == sorted(expected)


def severities(state: Cpu) -> dict[str, str]:
    return {f.rule: f.severity for f in check_cpu(state)}


@pytest.mark.parametrize("limit", [0x3FF, 0xFFFF, 0x7])
def test_no_idt_yet(limit: int) -> None:
    """While no interrupt can come that is the way into protected mode; later it is a mistake."""
    state = cpu(idtr=TableRegister(0, limit) if limit != 7 else TableRegister(0x2000, 3))
    without = {f.rule for f in check_cpu(state) if f.where == "IDTR"}
    assert {severities(state)[rule] for rule in without if rule != "table-limit"} == {"note"}
    for later in (replace(state, eflags=0x202), replace(state, cpl=3)):
        rules = {f.rule: f.severity for f in check_cpu(later) if f.where == "IDTR"}
        assert {rules[rule] for rule in without} == {"warning"}


def in_v86(state: Cpu) -> Cpu:
    small = {
        name: replace(state.segments[name], base=0x1000, selector=0x100, limit=0xFFFF)
        for name in ("es", "cs", "ss", "ds", "fs", "gs")
    }
    return replace(state, eflags=0x2_0202, cpl=3, segments={**state.segments, **small})


def test_virtual_8086_mode() -> None:
    """It cannot do without a TSS, and does not exist in long mode."""
    assert severities(in_v86(cpu())) == {}
    assert severities(in_v86(segment("tr", selector=0)(cpu()))) == {"tr-null": "error"}
    long = in_v86(cpu(cr0=0x8000_0011, cr4=0x20, efer=0x500))
    assert severities(long)["vm-mode"] == "error"


LONG = replace(
    segment("cs", flags=0xAF9B00)(cpu()),
    cr0=0x8000_0011,
    cr4=0x20,
    efer=0x500,
    idtr=TableRegister(0x10_2000, 0xFFF),
    eip=0xFFFF_8000_0010_0000,
)
HIGH, EDGE = 0xFFFF_8000_0000_0000, 0x0000_8000_0000_0000


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (LONG, []),
        (replace(LONG, eip=EDGE), ["rip-canonical"]),
        (replace(LONG, eip=EDGE, cr4=0x1020), []),
        (replace(LONG, gdtr=TableRegister(HIGH, 0x1F)), []),
        (replace(LONG, gdtr=TableRegister(EDGE, 0x1F)), ["base-canonical"]),
        (replace(LONG, idtr=TableRegister(EDGE, 0xFFF)), ["base-canonical"]),
        (segment("gs", base=HIGH)(LONG), []),
        (segment("gs", base=EDGE)(LONG), ["base-canonical"]),
        (segment("tr", base=EDGE)(LONG), ["base-canonical"]),
        (segment("tr", flags=0x8300, limit=0x2B)(LONG), ["tr-type"]),
        (segment("ss", flags=0x8F9300)(LONG), []),
        (replace(LONG, cr4=0x2_0020), []),
        (segment("cs", flags=0xCF9B00)(replace(LONG, eip=0xFFFF_FFFF_FFFF)), []),
    ],
)
def test_long_mode(state: Cpu, expected: list[str]) -> None:
    """Addresses are canonical, with 57 bits if CR4.LA57 says so; a TSS has 64 bits."""
    assert [f.rule for f in check_cpu(state)] == expected


def test_stacks_of_a_64_bit_tss() -> None:
    """RSP0 and the IST hold canonical addresses."""
    raw = bytearray(104)
    raw[4:12] = HIGH.to_bytes(8, "little")
    raw[102:104] = (0x68).to_bytes(2, "little")
    assert list(check_tss(decode_tss(bytes(raw), 64, 0x67))) == []
    raw[36:44] = EDGE.to_bytes(8, "little")
    (found,) = check_tss(decode_tss(bytes(raw), 64, 0x67))
    assert (found.rule, found.text[:4]) == ("stack-canonical", "ist1")


def test_paging() -> None:
    """Reserved bits of paging entries, alone and in a walk."""
    assert list(check_page_entry(decode_pte(0x1003, "PSE"))) == []
    for raw, severity, word in ((0x1003, "error", "#GP(0)"), (0x1021, "note", "QEMU")):
        (found,) = check_page_entry(decode_pte(raw, "PAE", 3))
        assert found.severity == severity
        assert word in found.text
    (found,) = check_page_entry(decode_pte(0x0020_0083, "PSE", 2))
    assert (found.rule, found.where) == ("pte-reserved", "pde")
    memory = {0x1000: 0x0020_0083}

    def read(address: int, size: int) -> bytes:
        return memory[address].to_bytes(size, "little")

    (found,) = check_walk(walk(read, 0x123, Paging("PSE", 0x1000)))
    assert found.where == "pde at 0x1000"
