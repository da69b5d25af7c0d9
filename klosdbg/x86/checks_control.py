"""What is wrong with control and debug registers (SDM Vol. 3, 2.5, 4.1, Debug Registers)."""

from collections.abc import Iterator

from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import Flags, decode_flags

_EXECUTE, _IO = 0, 2
_LMA = 1 << 10
_SIZES = {0: 1, 1: 2, 2: 8, 3: 4}


def check_control(cpu: Cpu) -> Iterator[Finding]:
    """Check CR0, CR4, EFER and DR7, each alone and against each other."""
    yield from check_flags(decode_flags("cr0", cpu.cr0))
    yield from _long_mode(cpu)
    if bit(cpu.cr4, 23) and not bit(cpu.cr0, 16):
        yield Finding("cet-without-wp", "error", "CR4", "CET is 1 and CR0.WP is 0: #GP on writing")
    if 7 in cpu.dr:
        dr7 = decode_flags("dr7", cpu.dr[7])
        yield from check_flags(dr7)
        yield from _breakpoints(cpu, dr7)


def check_flags(flags: Flags) -> Iterator[Finding]:
    """Check a register of flags by itself."""
    fields, where = flags.fields, flags.register.upper()
    if flags.register == "cr0":
        if fields["pg"] and not fields["pe"]:
            yield Finding("pg-without-pe", "error", where, "PG is 1 and PE is 0: #GP on writing it")
        if fields["nw"] and not fields["cd"]:
            yield Finding("nw-without-cd", "error", where, "NW is 1 and CD is 0: #GP on writing it")
    if flags.register == "dr7":
        for n in _enabled(flags):
            if fields[f"rw{n}"] == _EXECUTE and fields[f"len{n}"]:
                text = f"breakpoint {n} is on execution, where LEN has to be 0: undefined"
                yield Finding("breakpoint-length", "warning", where, text)


def _long_mode(cpu: Cpu) -> Iterator[Finding]:
    pg, pae, pcide = bit(cpu.cr0, 31), bit(cpu.cr4, 5), bit(cpu.cr4, 17)
    lme, lma = bit(cpu.efer, 8), bit(cpu.efer, 10)
    if pg and lme and not pae:
        yield Finding("long-without-pae", "error", "CR4", "long mode needs PAE, which is 0")
    elif lma and not (lme and pg):
        yield Finding("lma", "error", "EFER", "LMA is 1 without LME and CR0.PG")
    elif pg and lme and not lma:
        text = f"LMA is 0 with LME and CR0.PG, which make it 1: EFER must be {cpu.efer | _LMA:#x}"
        yield Finding("lma", "error", "EFER", text)
    if pcide and not lma:
        text = "PCIDE is 1 outside of long mode: #GP on writing it"
        yield Finding("pcide-without-lma", "error", "CR4", text)


def _breakpoints(cpu: Cpu, dr7: Flags) -> Iterator[Finding]:
    for n in _enabled(dr7):
        kind, size = dr7.fields[f"rw{n}"], _SIZES[dr7.fields[f"len{n}"]]
        if kind == _IO and not bit(cpu.cr4, 3):
            text = f"breakpoint {n} is on I/O, which is undefined while CR4.DE is 0"
            yield Finding("breakpoint-io", "warning", "DR7", text)
        address = cpu.dr.get(n, 0)
        if kind != _EXECUTE and address % size:
            text = f"DR{n} {address:#x} is not a multiple of its length {size}: bits are ignored"
            yield Finding("breakpoint-alignment", "warning", "DR7", text)


def _enabled(dr7: Flags) -> list[int]:
    return [n for n in range(4) if dr7.fields[f"l{n}"] or dr7.fields[f"g{n}"]]
