"""``info registers`` text: of a live QEMU, of logs, and of old qemu-kvm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.errors import ProtocolError
from klosdbg.wire.inforegs import parse_dumps, parse_info_registers

LONG = """\
RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004
RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=ffff800000206ff0
R8 =0000000000000008 R9 =0000000000000009 R10=000000000000000a R11=000000000000000b
R12=000000000000000c R13=000000000000000d R14=000000000000000e R15=000000000000000f
RIP=ffff80000020904e RFL=00000006 [-----P-] CPL=3 II=0 A20=0 SMM=1 HLT=1
ES =0000 0000000000000000 00000000 00000000
CS =0033 0000000000000000 ffffffff 00affb00 DPL=3 CS64 [-RA]
SS =002b 0000000000000000 ffffffff 00cff300 DPL=3 DS   [-WA]
DS =0000 0000000000000000 00000000 00000000
FS =0000 00007fdb9d9c2700 00000000 00000000
GS =0000 0000000000000000 00000000 00000000
LDT=0000 0000000000000000 00000000 00008200 DPL=0 LDT
TR =0040 ffff800001416000 00000067 00008b00 DPL=0 TSS64-busy
GDT=     ffff800001415000 00000fff
IDT=     ffff800001517000 00000fff
CR0=80000033 CR2=0000000000201008 CR3=0000000001413000 CR4=000626e8
DR0=0000000000001000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000
DR6=00000000ffff0ff0 DR7=0000000000000400
EFER=0000000000000500
FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
"""
OLD_KVM = """\
rax 0000000000000001 rbx 0000000000000002 rcx 0000000000000003 rdx 0000000000000004
rsi 0000000000000005 rdi 0000000000000006 rsp 0000000000000007 rbp 0000000000000008
r8  0000000000000009 r9  000000000000000a r10 000000000000000b r11 000000000000000c
rip 00000000003d721c rflags 00000006
cs 0008 (00001000/000fffff p 1 dpl 3 db 1 s 1 type b l 0 g 1 avl 1)
tr 0000 (00000000/0000ffff p 1 dpl 0 db 0 s 0 type b l 0 g 0 avl 0)
gdt a25000/1f
idt 0/3ff
cr0 80010011 cr2 0 cr3 eae000 cr4 7b8 cr8 0 efer d00
"""


def test_long_mode() -> None:
    """Every row of a 64-bit dump."""
    cpu = parse_info_registers(LONG)
    assert [cpu.gpr[f"r{n}"] for n in range(8, 16)] == list(range(8, 16))
    assert (cpu.gpr["rsp"], cpu.eip) == (0xFFFF_8000_0020_6FF0, 0xFFFF_8000_0020_904E)
    assert (cpu.mode, cpu.paging, cpu.cpl) == ("long", "4-level", 3)
    assert (cpu.gdtr.base, cpu.idtr.limit) == (0xFFFF_8000_0141_5000, 0xFFF)
    assert (cpu.cr2, cpu.cr4, cpu.efer) == (0x201008, 0x626E8, 0x500)
    assert cpu.dr == {0: 0x1000, 1: 0, 2: 0, 3: 0, 6: 0xFFFF_0FF0, 7: 0x400}
    assert (cpu.a20, cpu.smm, cpu.hlt) == (False, True, True)
    assert cpu.segments["fs"].base == 0x7FDB_9D9C_2700
    assert not cpu.segments["fs"].present


def test_line_ends() -> None:
    """The monitor ends its lines with CRLF; mails and papers indent them."""
    assert parse_info_registers(LONG.replace("\n", "\r\n")) == parse_info_registers(LONG)
    indented = LONG.replace("\n", "\n    ")
    assert parse_dumps(f"    {indented}") == ((parse_info_registers(LONG), ()),)


def test_several_dumps() -> None:
    """A log holds one dump after another."""
    text = f"     0: v=0e e=0000\n{LONG}check_exception old: 0xffffffff new 0xe\n{LONG}"
    dumps = parse_dumps(text)
    assert len(dumps) == 2
    assert dumps[0] == dumps[1] == (parse_info_registers(LONG), ())


def test_missing_rows() -> None:
    """What a dump lacks is named; RIP without EFER means long mode."""
    text = LONG.replace("EFER=0000000000000500\n", "").replace("GDT=", "GDX=")
    ((cpu, missing),) = parse_dumps(text)
    assert missing == ("GDT", "EFER")
    assert cpu.mode == "long"
    with pytest.raises(ProtocolError):
        parse_info_registers(LONG.replace("CS =", "XX ="))
    with pytest.raises(ProtocolError):
        parse_dumps("RAX=0")


def test_old_kvm() -> None:
    """The dump of qemu-kvm before 0.13 has every attribute spelt out."""
    ((cpu, missing),) = parse_dumps(OLD_KVM)
    cs = cpu.segments["cs"]
    assert (cs.selector, cs.base, cs.limit, cs.flags) == (8, 0x1000, 0xFFFFF, 0xD0FB00)
    assert cpu.segments["tr"].flags == 0x8B00
    assert (cpu.gdtr.base, cpu.gdtr.limit, cpu.idtr.limit) == (0xA25000, 0x1F, 0x3FF)
    assert (cpu.eip, cpu.eflags, cpu.efer, cpu.cr3) == (0x3D721C, 6, 0xD00, 0xEAE000)
    assert [cpu.gpr[n] for n in ("rax", "rdi", "rbp", "r8", "r11")] == [1, 6, 8, 9, 12]
    assert missing == ("ES", "SS", "DS", "FS", "GS", "LDT")


@given(st.text(max_size=200) | st.sampled_from(LONG.splitlines()).map(lambda row: f"RIP=0\n{row}"))
def test_total(text: str) -> None:
    """Any text parses or is refused."""
    try:
        dumps = parse_dumps(text)
    except ProtocolError:
        dumps = ()
    assert all(cpu.eip >= 0 for cpu, _ in dumps)
