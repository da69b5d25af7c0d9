"""The parsers of Bochs' debugger output, on text that Bochs 2.7 and 3.0 printed."""

import pytest
from tests.bochs_text import (
    parse_bits,
    parse_creg,
    parse_info_gdt,
    parse_info_idt,
    parse_info_ldt,
    parse_info_tss,
    parse_memory_dump,
    parse_registers,
    parse_sreg,
)

GDT = """\
Global Descriptor Table (base=0x0000000000113000, limit=511):
GDT[0x0000]=??? descriptor hi=0x00000000, lo=0x00000000
GDT[0x0018]=Code segment, base=0x00000000, limit=0xffffffff, Execute/Read, Non-Conforming, Accessed, 32-bit
GDT[0x0028]=32-Bit TSS (Busy) at 0x00116000, length 0x03000
GDT[0x0030]=LDT 
GDT[0x0040]=Data segment, base=0x00122000, limit=0x00000fff, Read/Write, Expand-down, Accessed
GDT[0x0048]=Data segment, base=0x00122000, limit=0x00000fff, Read-Only
GDT[0x0050]=Code segment, base=0x00000000, limit=0x0000ffff, Execute-Only, Conforming, 16-bit
GDT[0x0058]=??? descriptor hi=0x00406012, lo=0x20000fff
GDT[0x00a0]=32-Bit Call Gate target=0x0008:0x001044c7, DPL=3
GDT[0x00a8]=32-Bit TSS (Available) at 0x0011b000, length 0x00067
You can list individual entries with 'info gdt [NUM]' or groups with 'info gdt [NUM] [NUM]'
"""  # noqa: E501, W291

GDT_3_0 = """\
gdt (base=0x0000000000113000, limit=511):
gdt[0x0000]=<null entry>
gdt[0x0018]=Code segment, base=0x00000000, limit=0xffffffff, Execute/Read, Non-Conforming, Accessed, 32-bit
gdt[0x0028]=32-Bit TSS (Busy) at 0x00116000, length 0x03000
gdt[0x0030]=LDT 
gdt[0x0040]=Data segment, base=0x00122000, limit=0x00000fff, Read/Write, Expand-down, Accessed
gdt[0x0048]=Data segment, base=0x00122000, limit=0x00000fff, Read-Only
gdt[0x0050]=Code segment, base=0x00000000, limit=0x0000ffff, Execute-Only, Conforming, 16-bit
gdt[0x0058]=??? descriptor hi=0x00406012, lo=0x20000fff
gdt[0x00a0]=32-Bit Call Gate target=0x0008:0x001044c7, DPL=3
gdt[0x00a8]=32-Bit TSS (Available) at 0x0011b000, length 0x00067
You can list individual entries with 'info gdt [NUM]' or groups with 'info gdt [NUM] [NUM]'
"""  # noqa: E501, W291

LDT = """\
Local Descriptor Table (base=0x0000000000115000, limit=127):
LDT[0x0f]=LDT 
"""  # noqa: W291

LDT_3_0 = """\
ldt (base=0x0000000000115000, limit=127):
ldt[0x0f]=LDT 
"""  # noqa: W291

# Both versions call the IDT so.
IDT = """\
Interrupt Descriptor Table (base=0x0000000000114000, limit=2047):
IDT[0x03]=32-Bit Interrupt Gate target=0x0008:0x00100060, DPL=3
IDT[0x04]=16-Bit Trap Gate target=0x0008:0x00000070, DPL=0
IDT[0x40]=Task Gate target=0x00a8:0x00000000, DPL=3
"""

TSS = """\
tr:s=0x28, base=0x0000000000116000, valid=1
ss:esp(0): 0x0010:0x00111000
ss:esp(1): 0x0000:0x00000000
ss:esp(2): 0x0000:0x00000000
cr3: 0x0011c000
eip: 0x00000000
eflags: 0x00000002
cs: 0x0000 ds: 0x0000 ss: 0x0000
es: 0x0000 fs: 0x0000 gs: 0x0023
eax: 0x00000000  ebx: 0x00000000  ecx: 0x00000000  edx: 0x00000000
esi: 0x00000000  edi: 0x00000000  ebp: 0x00000000  esp: 0x00112000
ldt: 0x0030
i/o map: 0x1000
"""

SREG = """\
cs:0x001b, dh=0x00cffb00, dl=0x0000ffff, valid=1
	Code segment, base=0x00000000, limit=0xffffffff, Execute/Read, Non-Conforming, Accessed, 32-bit
ldtr:0x0030, dh=0x00008211, dl=0x5000007f, valid=1
tr:0x0028, dh=0x00008b11, dl=0x60003000, valid=1
gdtr:base=0x0000000000113000, limit=0x1ff
idtr:base=0x0000000000114000, limit=0x7ff
"""


@pytest.mark.parametrize("text", [GDT, GDT_3_0], ids=["2.7", "3.0"])
def test_gdt(text: str) -> None:
    """Every kind of entry that Bochs names, with what it says of it."""
    table = parse_info_gdt(text)
    entries = table["entries"]
    assert (table["base"], table["limit"]) == (0x113000, 511)
    assert entries[0] == {"kind": "empty", "raw": 0}
    assert entries[3]["readable"]
    assert entries[3]["scaled_limit"] == 0xFFFFFFFF
    assert entries[5] == {"kind": "tss32", "busy": True, "base": 0x116000, "length": 0x3000}
    assert entries[6] == {"kind": "ldt"}
    assert entries[8]["expand_down"]
    assert entries[8]["accessed"]
    assert not entries[9]["writable"]
    assert not entries[9]["accessed"]
    assert (entries[10]["readable"], entries[10]["conforming"], entries[10]["db"]) == (
        False,
        True,
        0,
    )
    assert entries[11] == {"kind": "reserved", "raw": 0x0040601220000FFF}
    assert entries[20] == {
        "kind": "call-gate",
        "bits": 32,
        "target_selector": 8,
        "offset": 0x1044C7,
        "dpl": 3,
    }
    assert not entries[21]["busy"]


@pytest.mark.parametrize("text", [LDT, LDT_3_0], ids=["2.7", "3.0"])
def test_ldt_counts_entries_and_not_bytes(text: str) -> None:
    """Bochs numbers LDT entries by index, GDT entries by offset."""
    table = parse_info_ldt(text)
    assert (table["base"], table["limit"]) == (0x115000, 127)
    assert table["entries"] == {15: {"kind": "ldt"}}


def test_idt() -> None:
    """Gates of both widths, and a task gate, which has none."""
    entries = parse_info_idt(IDT)["entries"]
    assert entries[3]["kind"] == "interrupt-gate"
    assert (entries[4]["kind"], entries[4]["bits"]) == ("trap-gate", 16)
    assert entries[0x40] == {"kind": "task-gate", "target_selector": 0xA8, "offset": 0, "dpl": 3}


def test_tss() -> None:
    """All fields under the manual's names."""
    tss = parse_info_tss(TSS)
    assert (tss["selector"], tss["base"]) == (0x28, 0x116000)
    assert (tss["ss0"], tss["esp0"], tss["esp"]) == (0x10, 0x111000, 0x112000)
    assert (tss["cr3"], tss["eflags"], tss["gs"]) == (0x11C000, 2, 0x23)
    assert (tss["ldt"], tss["iomap_base"]) == (0x30, 0x1000)


def test_segment_registers() -> None:
    """The hidden part in memory's layout, and the table registers."""
    registers = parse_sreg(SREG)
    assert registers["cs"] == {"selector": 0x1B, "raw": 0x00CFFB000000FFFF, "valid": 1}
    assert registers["tr"]["raw"] == 0x00008B1160003000
    assert registers["gdtr"] == {"base": 0x113000, "limit": 0x1FF}
    assert registers["idtr"]["limit"] == 0x7FF


@pytest.mark.parametrize("eflags", ["eflags 0x", "eflags: 0x"], ids=["2.7", "3.0"])
def test_control_and_general_registers(eflags: str) -> None:
    """Numbers, whatever Bochs says of their bits beside them."""
    creg = "CR0=0x80050031: PG cd nw\nCR2=page fault laddr=0x0000000000113045\nCR3=0x00000011c000\n"
    creg += "CR4=0x00000000: pks cet\nCR8: 0x0\nEFER=0x00000000: ffxsr\n"
    control = parse_creg(creg)
    assert (control["cr0"], control["cr2"], control["cr3"]) == (0x80050031, 0x113045, 0x11C000)
    assert (control["cr8"], control["efer"]) == (0, 0)
    bits = parse_bits(f"{creg}DR7=0x00000401: DR3=Code-Byte gd | ge le | g0 L0\n")
    assert bits["cr0"] == (0x80050031, {"pg": 1, "cd": 0, "nw": 0})
    assert bits["dr7"] == (0x401, {"gd": 0, "ge": 0, "le": 0, "g0": 0, "l0": 1})
    registers = parse_registers(
        f"rax: 00000000_00000023\nr8 : 00000001_00000000\n{eflags}00000002: id vip\n"
    )
    assert registers == {"rax": 0x23, "r8": 1 << 32, "eflags": 2}


@pytest.mark.parametrize(
    "text",
    [
        "[bochs]:\n0x113008 <bogus+       8>:\t0xff\t0xff\t0x00\t0x00\t0x00\t0x9b\t0xcf\t0x00\n",
        "0x0000000000113008 <bogus+       8>:\t0xffff\t0x0000\t0x9b00\t0x00cf\n",
        "0x0000000000113008 <_start+       8>:\t0x0000ffff\n0x000000000011300c <x>:\t0x00cf9b00\n",
    ],
    ids=["bytes", "halfwords", "words"],
)
def test_memory_dump(text: str) -> None:
    """The same bytes, whatever the width."""
    assert parse_memory_dump(text) == bytes.fromhex("ffff0000009bcf00")


@pytest.mark.parametrize(
    "text",
    [
        "0x1 <bogus+0>:bx_dbg_read_linear: physical address not available for linear 0x1\n",
        "0x1 <bogus+0>:\t0x00000000\t0xcf9b000000ffff\n",
    ],
    ids=["unmapped", "giant words"],
)
def test_memory_dump_that_is_none(text: str) -> None:
    """What cannot be bytes is refused rather than shifted."""
    with pytest.raises(ValueError, match=r"not available|different widths"):
        parse_memory_dump(text)


@pytest.mark.parametrize("parse", [parse_info_gdt, parse_info_tss])
def test_other_text_is_refused(parse: object) -> None:
    """An error message is not an empty table."""
    with pytest.raises(ValueError, match=r"not a (table|TSS)"):
        parse("(null): syntax error")  # type: ignore[operator]
