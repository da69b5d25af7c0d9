"""A processor by the registers that a stub describes, where there is no monitor to ask.

A program's stub tells the general registers and selectors; klosdbg's own server tells all, hidden
parts too. What nobody tells is as the rule of the mode has it: flat segments, or in real and
virtual 8086 mode the selector times 16. ``Cpu.untold`` names what is a guess.
"""

from collections.abc import Mapping

from klosdbg.errors import TargetError
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu, SegmentRegister, TableRegister

_GPR64 = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "efer")
_PE, _VM, _LONG_MODE = 1, 1 << 17, 0x500
_PARAGRAPHS, _FLAT = 0xFFFF, 0xFFFF_FFFF
_REAL, _DATA, _CODE32, _CODE64 = 0x0000_9300, 0x00CF_9300, 0x00CF_9B00, 0x00AF_9B00


def described_cpu(values: Mapping[str, int]) -> Cpu:
    """Make a processor of values by GDB's names, or raise ``TargetError`` where these are none."""
    wide = "rip" in values
    pc = "rip" if wide else "eip"
    lacks = [name for name in (pc, "eflags", "cs") if name not in values]
    if lacks:
        raise TargetError(f"the stub tells no {lacks[0]}: is its guest an x86 processor?")
    control = {"cr0": _PE, "efer": _LONG_MODE if wide and "cr0" not in values else 0}
    control |= {name: values[name] for name in _CONTROL if name in values}
    by_selector = not control["cr0"] & _PE or bool(values["eflags"] & _VM)
    told = {name for name in (*SEGMENTS, "ldtr", "tr") if f"{name}_attr" in values}
    told |= {name for name in ("gdtr", "idtr") if f"{name}_base" in values}
    told |= {name for name in _CONTROL if name in values}
    told |= set(SEGMENTS) if by_selector else set()
    segments = {name: _segment(name, values, by_selector, wide) for name in SEGMENTS}
    segments |= {name: _system(name, values) for name in ("ldtr", "tr")}
    return Cpu(
        gpr={name: values.get(name, 0) for name in (_GPR64 if wide else GPR32)},
        eip=values.get(f"{pc}_offset", values[pc]),
        eflags=values["eflags"],
        cpl=values.get("cpl", _cpl(control["cr0"], values)),
        segments=segments,
        gdtr=_table("gdtr", values),
        idtr=_table("idtr", values),
        cr0=control["cr0"],
        cr2=values.get("cr2", 0),
        cr3=values.get("cr3", 0),
        cr4=values.get("cr4", 0),
        efer=control["efer"],
        dr={n: values[f"dr{n}"] for n in range(8) if f"dr{n}" in values},
        untold=frozenset({*SEGMENTS, "ldtr", "tr", "gdtr", "idtr", *_CONTROL} - told),
    )


def _cpl(cr0: int, values: Mapping[str, int]) -> int:
    if not cr0 & _PE:
        return 0
    return 3 if values["eflags"] & _VM else values["cs"] & 3


def _segment(
    name: str, values: Mapping[str, int], by_selector: bool, wide: bool
) -> SegmentRegister:
    selector = values.get(name, 0)
    base, limit, flags = 0, _FLAT, _DATA | (selector & 3) << 13
    if by_selector:
        base, limit, flags = selector << 4, _PARAGRAPHS, _REAL
    elif name == "cs":
        flags = (_CODE64 if wide else _CODE32) | (selector & 3) << 13
    elif selector & ~3 == 0:
        flags = 0
    if f"{name}_attr" in values:
        limit, flags = values[f"{name}_limit"], _flags(name, values)
    return SegmentRegister(name, selector, values.get(f"{name}_base", base), limit, flags)


def _system(name: str, values: Mapping[str, int]) -> SegmentRegister:
    if f"{name}_attr" not in values:
        return SegmentRegister(name, 0, 0, 0, 0)
    base, limit = values[f"{name}_base"], values[f"{name}_limit"]
    return SegmentRegister(name, values[name], base, limit, _flags(name, values))


def _flags(name: str, values: Mapping[str, int]) -> int:
    """Put a descriptor's attribute bits where its high doubleword has them."""
    return values[f"{name}_attr"] << 8


def _table(name: str, values: Mapping[str, int]) -> TableRegister:
    return TableRegister(values.get(f"{name}_base", 0), values.get(f"{name}_limit", 0))
