"""The notes that QEMU writes into a core of ``dump-guest-memory``: one a processor.

A note named ``QEMU`` holds ``QEMUCPUState``, little-endian::

    u32 version, size
    u64 rax rbx rcx rdx rsi rdi rsp rbp r8..r15 rip rflags
    {u32 selector, limit, flags, pad; u64 base} cs ds es fs gs ss ldt tr gdt idt
    u64 cr0 cr1 cr2 cr3 cr4, kernel_gs_base
"""

import struct

from klosdbg.errors import DataError
from klosdbg.x86.cpu import SEGMENTS, Cpu, SegmentRegister, TableRegister

NAME = "QEMU"
_VERSION = 1
_HEAD = struct.Struct("<2I18Q")
_SEGMENT = struct.Struct("<4IQ")
_TAIL = struct.Struct("<5Q")
_SIZE = _HEAD.size + 10 * _SEGMENT.size + _TAIL.size
_GPR = ("ax", "bx", "cx", "dx", "si", "di", "sp", "bp")
_ORDER = ("cs", "ds", "es", "fs", "gs", "ss", "ldtr", "tr")
_LONG_MODE_ENABLED_AND_ACTIVE = 0x500
_LOW = 0xFFFF_FFFF
_ATTRIBUTES = 0x00F0_FF00


def decode_qemu_note(raw: bytes, long_mode: bool) -> Cpu:
    """Decode a processor's state, or raise ``DataError``.

    The note has no EFER: ``long_mode`` comes from the core's machine type.
    """
    if len(raw) < _SIZE:
        raise DataError(f"its QEMU note has {len(raw)} bytes, where {_SIZE} are needed")
    version, _, *general, rip, rflags = _HEAD.unpack_from(raw)
    if version != _VERSION:
        raise DataError(f"its QEMU note has version {version}, this klosdbg reads {_VERSION}")
    *segments, gdt, idt = (
        _SEGMENT.unpack_from(raw, _HEAD.size + i * _SEGMENT.size) for i in range(10)
    )
    cr0, _, cr2, cr3, cr4 = _TAIL.unpack_from(raw, _HEAD.size + 10 * _SEGMENT.size)
    held = {
        name: SegmentRegister(name, selector & 0xFFFF, base, limit, flags & _ATTRIBUTES)
        for name, (selector, limit, flags, _, base) in zip(_ORDER, segments, strict=True)
    }
    return Cpu(
        gpr=_general(general, long_mode),
        eip=rip,
        eflags=rflags & _LOW,
        cpl=_privilege(held, cr0, rflags),
        segments={name: held[name] for name in (*SEGMENTS, "ldtr", "tr")},
        gdtr=TableRegister(gdt[4], gdt[1] & 0xFFFF),
        idtr=TableRegister(idt[4], idt[1] & 0xFFFF),
        cr0=cr0 & _LOW,
        cr2=cr2,
        cr3=cr3,
        cr4=cr4,
        efer=_LONG_MODE_ENABLED_AND_ACTIVE if long_mode else 0,
    )


def _general(values: list[int], long_mode: bool) -> dict[str, int]:
    if not long_mode:
        return {f"e{name}": value & _LOW for name, value in zip(_GPR, values, strict=False)}
    named = {f"r{name}": value for name, value in zip(_GPR, values, strict=False)}
    return named | {f"r{number}": value for number, value in enumerate(values[8:], 8)}


def _privilege(segments: dict[str, SegmentRegister], cr0: int, rflags: int) -> int:
    if not cr0 & 1:
        return 0
    return 3 if rflags & 1 << 17 else segments["ss"].dpl
