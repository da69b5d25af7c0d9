"""Processors for tests: flat ring 3, but for what a test changes."""

from dataclasses import replace

from klosdbg.x86.cpu import GPR32, Cpu, SegmentRegister, TableRegister

RW, RO, DOWN, DOWN_RO, CODE_X, CODE_XR = 0x3, 0x1, 0x7, 0x5, 0x9, 0xB
FLAT = 0xFFFF_FFFF
GDT_AT, STACK_AT = 0x5000, 0x8000
MODES = {"real": (0, 0, 0), "v86": (1, 1 << 17, 0), "protected": (1, 0, 0), "long": (1, 0, 0x500)}


def segment(
    name: str, limit: int = FLAT, kind: int = RW, *, base: int = 0, db: bool = True, p: bool = True
) -> SegmentRegister:
    """Make a hidden part at DPL 3; ``limit`` is in bytes."""
    flags = kind << 8 | 1 << 12 | 3 << 13 | p << 15 | db << 22 | (limit > 0xFFFFF) << 23
    return SegmentRegister(name, 0x43, base, limit, flags)


def cpu(*changed: SegmentRegister, mode: str = "protected", **values: int) -> Cpu:
    """Make a ring-3 processor with flat segments, but for the changes."""
    cr0, flags, efer = MODES[mode]
    small = mode in ("real", "v86")
    limit, big = (0xFFFF, False) if small else (FLAT, True)
    segments = {n: segment(n, limit, db=big) for n in ("es", "ss", "ds", "fs", "gs", "ldtr", "tr")}
    segments["cs"] = segment("cs", limit, RW if small else CODE_XR, db=big)
    if mode == "long":
        segments["cs"] = replace(segments["cs"], flags=segments["cs"].flags | 1 << 21)
    segments |= {register.name: register for register in changed}
    return Cpu(
        gpr={name: values.get(name, 0x100) for name in GPR32},
        eip=values.get("eip", 0x1000),
        eflags=flags | values.get("eflags", 2),
        cpl=values.get("cpl", 0 if mode == "real" else 3),
        segments=segments,
        gdtr=TableRegister(GDT_AT, 0xFF),
        idtr=TableRegister(0, 0x7FF),
        cr0=cr0 | values.get("cr0", 0),
        cr2=0,
        cr3=0,
        cr4=values.get("cr4", 0),
        efer=efer,
    )
