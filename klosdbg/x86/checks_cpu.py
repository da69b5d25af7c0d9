"""What is wrong with a processor's registers, taken together (SDM Vol. 3A, 2 and 26.3.1)."""

from collections.abc import Iterator

from klosdbg.x86.bits import bit
from klosdbg.x86.checks_control import check_control
from klosdbg.x86.cpu import SEGMENTS, Cpu, SegmentRegister
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import decode_eflags

_IVT_LIMIT = 0x3FF
_TSS_LIMITS = {1: 0x2B, 3: 0x2B, 9: 0x67, 0xB: 0x67}


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
        yield from _task_register(cpu)


def _eflags(cpu: Cpu) -> Iterator[Finding]:
    if not bit(cpu.eflags, 1) or decode_eflags(cpu.eflags).reserved:
        yield Finding("eflags-reserved", "warning", "EFLAGS", "reserved bits have changed")


def _table_registers(cpu: Cpu) -> Iterator[Finding]:
    for name, register, size in (
        ("GDTR", cpu.gdtr, 8),
        ("IDTR", cpu.idtr, 16 if cpu.long_mode else 8),
    ):
        if (register.limit + 1) % size:
            text = f"limit {register.limit:#x} is not {size} * n - 1"
            yield Finding("table-limit", "warning", name, text)
        if register.base % 8:
            text = f"base {register.base:#x} is not a multiple of 8"
            yield Finding("table-alignment", "note", name, text)
    if cpu.idtr.base == 0 and cpu.idtr.limit == _IVT_LIMIT:
        text = "base 0 and limit 0x3ff are the real-mode IVT's: no LIDT yet?"
        yield Finding("idt-is-ivt", "warning", "IDTR", text)
    elif cpu.idtr.limit < (256 if cpu.long_mode else 8) and not cpu.hlt:
        text = f"limit {cpu.idtr.limit:#x} holds no gate: any exception ends in a triple fault"
        yield Finding("idt-empty", "warning", "IDTR", text)


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


def _task_register(cpu: Cpu) -> Iterator[Finding]:
    tr = cpu.segments["tr"]
    if tr.selector & ~3 == 0:
        text = "no TSS is loaded: an interrupt at CPL 3 would find no ring-0 stack"
        yield Finding("tr-null", "error" if cpu.cpl == 3 else "note", "TR", text)
        return
    least = _TSS_LIMITS.get(tr.type)
    if least is None or tr.s:
        yield Finding("tr-type", "error", "TR", f"type {tr.type:#x} is no TSS")
    elif tr.limit < least:
        yield Finding("tss-limit", "error", "TR", f"limit {tr.limit:#x} is below {least:#x}: #TS")
    elif tr.limit == least + 1:
        text = f"limit {tr.limit:#x} is one more than {least:#x}: a size, not the last byte?"
        yield Finding("tss-limit-size", "note", "TR", text)


def _v86_segments(cpu: Cpu) -> Iterator[Finding]:
    for name in SEGMENTS:
        if name in cpu.segments and not _as_in_real_mode(cpu.segments[name]):
            text = "base is not selector * 16, or limit is not 0xffff"
            yield Finding("v86-segment", "error", name.upper(), text)


def _as_in_real_mode(register: SegmentRegister) -> bool:
    return register.base == register.selector << 4 and register.limit == 0xFFFF
