"""What is wrong with a processor's registers, taken together (SDM Vol. 3A, 2 and 26.3.1)."""

from collections.abc import Iterator

from klosdbg.x86.bits import bit
from klosdbg.x86.checks_control import check_control
from klosdbg.x86.cpu import SEGMENTS, Cpu, SegmentRegister, TableRegister
from klosdbg.x86.findings import Finding, Severity
from klosdbg.x86.flags import decode_eflags
from klosdbg.x86.paging import Mode, is_canonical

_RESET = TableRegister(0, 0xFFFF)
_IVT = TableRegister(0, 0x3FF)
_TSS_LIMITS = {1: 0x2B, 3: 0x2B, 9: 0x67, 0xB: 0x67}
_LONG_TSS_LIMITS = {9: 0x67, 0xB: 0x67}
STACK_USES_SP = "B is 0: pushes and pops use SP, and leave ESP[31:16] as they are"
"""What surprises about a stack that reaches past 64 KiB."""
_BUSY = 2
_LDT = 2


def check_cpu(cpu: Cpu) -> Iterator[Finding]:
    """Check control registers, segment registers, TR and the table registers against each other."""
    yield from check_control(cpu)
    yield from _eflags(cpu)
    if bit(cpu.cr0, 0):
        yield from _table_registers(cpu)
    if cpu.mode == "v86":
        yield from _v86_segments(cpu)
    elif bit(cpu.cr0, 0) and not cpu.smm:
        yield from _code_segment(cpu)
        yield from _stack_segment(cpu)
    if bit(cpu.cr0, 0) and not cpu.smm:
        yield from _task_register(cpu)
        yield from _ldt_register(cpu)
    if cpu.long_mode:
        yield from _canonical(cpu)


def _eflags(cpu: Cpu) -> Iterator[Finding]:
    lma = bit(cpu.efer, 10)
    if bit(cpu.eflags, 17) and (lma or not bit(cpu.cr0, 0)):
        mode = "long" if lma else "real"
        text = f"VM is 1, but {mode} mode has no virtual 8086 mode"
        yield Finding("vm-mode", "error", "EFLAGS", text)
    if not bit(cpu.eflags, 1) or decode_eflags(cpu.eflags).reserved:
        yield Finding("eflags-reserved", "warning", "EFLAGS", "reserved bits have changed")


def _table_registers(cpu: Cpu) -> Iterator[Finding]:
    for name, register, size in (
        ("GDTR", cpu.gdtr, 8),
        ("IDTR", cpu.idtr, 16 if cpu.long_mode else 8),
    ):
        empty = name == "IDTR" and register.limit == 0  # so a BIOS loads it, on purpose
        if (register.limit + 1) % size and not empty:
            text = f"limit {register.limit:#x} is not {size} * n - 1"
            yield Finding("table-limit", "warning", name, text)
        if register.base % 8:
            text = f"base {register.base:#x} is not a multiple of 8"
            yield Finding("table-alignment", "note", name, text)
    yield from _idt_register(cpu)


def _idt_register(cpu: Cpu) -> Iterator[Finding]:
    idtr, gdtr = cpu.idtr, cpu.gdtr
    # On the way into protected mode no IDT is loaded for some instructions, with IF=0.
    on_the_way = not bit(cpu.eflags, 9) and cpu.cpl == 0 and cpu.mode != "v86"
    severity: Severity = "note" if on_the_way else "warning"
    if idtr == _IVT:
        text = "base 0 and limit 0x3ff are the real-mode IVT's: no LIDT yet?"
        yield Finding("idt-is-ivt", severity, "IDTR", text)
    elif idtr == _RESET:
        text = (
            "base 0 and limit 0xffff are the reset value: no LIDT since INIT or SIPI? an exception"
            " takes bytes of the IVT for a gate, or is a triple fault"
        )
        yield Finding("idt-reset", severity, "IDTR", text)
    elif idtr.limit < (256 if cpu.long_mode else 8) and not cpu.hlt:
        text = f"limit {idtr.limit:#x} holds no gate: any exception ends in a triple fault"
        yield Finding("idt-empty", severity, "IDTR", text)
    elif idtr.base == gdtr.base and gdtr.limit >= 7:
        text = f"base {idtr.base:#x} is GDTR's: segments are taken for gates"
        yield Finding("idt-is-gdt", "warning", "IDTR", text)


def _code_segment(cpu: Cpu) -> Iterator[Finding]:
    cs = cpu.segments["cs"]
    if not (cs.s and cs.type & 8):
        text = f"type {cs.type:#x} is no code segment: left over from real mode?"
        yield Finding("cs-type", "error", "CS", text)
    if cs.l and cs.db:
        yield Finding("cs-l-and-d", "error", "CS", "L and D are both 1, which VM entry refuses")
    if cs.l and not bit(cpu.efer, 10):
        text = "L is 1 outside long mode: this is no 64-bit code"
        yield Finding("cs-l", "warning", "CS", text)
    if not cs.present:
        yield Finding("cs-present", "error", "CS", "the code segment is not present")
    if cs.selector & 3 != cpu.cpl:
        text = f"RPL {cs.selector & 3} is not CPL {cpu.cpl}"
        yield Finding("cs-rpl", "error", "CS", text)


def _stack_segment(cpu: Cpu) -> Iterator[Finding]:
    ss = cpu.segments["ss"]
    if not ss.present:
        if cpu.mode != "long":
            yield Finding("ss-present", "error", "SS", "the stack segment is null or not present")
        return
    if ss.dpl != cpu.cpl:
        yield Finding("ss-dpl", "error", "SS", f"DPL {ss.dpl} is not CPL {cpu.cpl}")
    if not ss.s or ss.type & 0xA != 2:
        yield Finding("ss-type", "error", "SS", f"type {ss.type:#x} is no writable data segment")
    elif cpu.mode != "long" and not ss.db and not ss.type & 4 and ss.limit > 0xFFFF:
        yield Finding("stack-uses-sp", "note", "SS", STACK_USES_SP)


def _task_register(cpu: Cpu) -> Iterator[Finding]:
    tr = cpu.segments["tr"]
    if tr.selector & ~3 == 0:
        outer = cpu.cpl == 3 or cpu.mode == "v86"
        text = "no TSS is loaded: an interrupt at CPL 3 would find no ring-0 stack"
        yield Finding("tr-null", "error" if outer else "note", "TR", text)
        return
    least = (_LONG_TSS_LIMITS if cpu.long_mode else _TSS_LIMITS).get(tr.type)
    if least is None or tr.s:
        mode = " of long mode" if cpu.long_mode else ""
        yield Finding("tr-type", "error", "TR", f"type {tr.type:#x} is no TSS{mode}")
        return
    if tr.limit < least:
        yield Finding("tss-limit", "error", "TR", f"limit {tr.limit:#x} is below {least:#x}: #TS")
    elif tr.limit == least + 1:
        text = f"limit {tr.limit:#x} is one more than {least:#x}: a size, not the last byte?"
        yield Finding("tss-limit-size", "note", "TR", text)
    if not tr.type & _BUSY:
        text = f"type {tr.type:#x} is not busy, LTR makes it {tr.type | _BUSY:#x}: so it stays in"
        text += " QEMU's TCG, but a processor never holds it, and VM entry refuses it"
        yield Finding("tr-not-busy", "note", "TR", text)
    yield from _system_bits(tr)


def _ldt_register(cpu: Cpu) -> Iterator[Finding]:
    ldtr = cpu.segments["ldtr"]
    if ldtr.selector & ~3 == 0 or not ldtr.present:
        return
    if ldtr.s or ldtr.type != _LDT:
        yield Finding("ldtr-type", "error", "LDTR", f"type {ldtr.type:#x} is no LDT")
    yield from _system_bits(ldtr)


def _system_bits(register: SegmentRegister) -> Iterator[Finding]:
    if register.l or register.db:
        text = "L or D/B is 1, which system descriptors reserve"
        yield Finding("system-reserved", "warning", register.name.upper(), text)


def _canonical(cpu: Cpu) -> Iterator[Finding]:
    mode: Mode = "5-level" if bit(cpu.cr4, 12) else "4-level"
    if cpu.mode == "long" and not is_canonical(cpu.eip, mode):
        text = f"RIP {cpu.eip:#x} is not canonical: fetching there raises #GP"
        yield Finding("rip-canonical", "error", "RIP", text)
    bases = {name: cpu.segments[name].base for name in ("fs", "gs", "ldtr", "tr")}
    for name, base in {**bases, "gdtr": cpu.gdtr.base, "idtr": cpu.idtr.base}.items():
        if not is_canonical(base, mode):
            text = f"base {base:#x} is not canonical"
            yield Finding("base-canonical", "error", name.upper(), text)


def _v86_segments(cpu: Cpu) -> Iterator[Finding]:
    for name in SEGMENTS:
        if name in cpu.segments and not _as_in_real_mode(cpu.segments[name]):
            text = "base is not selector * 16, or limit is not 0xffff"
            yield Finding("v86-segment", "error", name.upper(), text)


def _as_in_real_mode(register: SegmentRegister) -> bool:
    return register.base == register.selector << 4 and register.limit == 0xFFFF
