"""What a processor would refuse of an instruction (SDM Vol. 3A, chapter 5; #AC: 6.15)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.access import Access, Kind, ReadLinear, plain_accesses
from klosdbg.x86.bits import bit
from klosdbg.x86.branch import branch_accesses, is_branch, linear_address
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.operation import Operation, decode_operation
from klosdbg.x86.privilege import needs_ring0

Rule = Literal[
    "limit",
    "expand-down",
    "code-limit",
    "read-only",
    "code-write",
    "execute-only",
    "null",
    "alignment",
    "icebp",
    "privilege",
]

DB, SS, GP, AC = 1, 12, 13, 17
_AC_FLAG, _AM, _EM, _TS = 18, 18, 2, 3
_TOP = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that an instruction breaks, and the exception for it.

    ``error_code`` is None where the exception pushes none; ``offset`` and ``size`` are the
    access's, in bytes; ``resume`` is the EIP that the processor saves.
    """

    rule: Rule
    vector: int
    error_code: int | None
    segment: str
    offset: int
    size: int
    access: Kind
    register: SegmentRegister
    resume: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a processor says of an instruction: the accesses up to the first that it refuses."""

    operation: Operation
    accesses: tuple[Access, ...]
    violation: Violation | None


def judge(cpu: Cpu, code: bytes, read: ReadLinear) -> Verdict:
    """Judge the next instruction, whose bytes are ``code``, by every access that it makes.

    A repeated string instruction is judged by its next element, at which it can be resumed.
    """
    operation = decode_operation(code, cpu.code_bits)
    refused: Rule | None = "privilege" if cpu.cpl and needs_ring0(cpu, operation) else None
    made = []
    for access in accesses(cpu, operation, read):
        made.append(access)
        # The ring is looked at when the instruction is there, before any operand is.
        broken = _broken(cpu, access, read) or refused
        if broken is not None:
            return Verdict(operation, tuple(made), _violation(cpu, broken, access))
    icebp = _icebp(cpu, operation) if operation.mnemonic == "int1" else None
    return Verdict(operation, tuple(made), icebp)


def _icebp(cpu: Cpu, operation: Operation) -> Violation:
    """Describe ICEBP: a trap, whose saved EIP is that of the instruction after it."""
    after = cpu.eip + operation.size
    cs = cpu.segments["cs"]
    return Violation("icebp", DB, None, "cs", cpu.eip, operation.size, "execute", cs, after)


def accesses(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    """List the fetch and every access of an instruction, in the processor's order."""
    yield _fetch(cpu, operation)
    if not operation.valid or (operation.is_fpu and (bit(cpu.cr0, _EM) or bit(cpu.cr0, _TS))):
        return
    if is_branch(operation):
        yield from branch_accesses(cpu, operation, read)
    else:
        yield from plain_accesses(cpu, operation)


def _fetch(cpu: Cpu, operation: Operation) -> Access:
    return Access(cpu.segments["cs"], cpu.eip, operation.size, "execute")


def _broken(cpu: Cpu, access: Access, read: ReadLinear) -> Rule | None:
    rule = None if cpu.mode == "long" else _segment_rule(cpu, access)
    if rule is None and access.kind != "execute" and _misaligned(cpu, access, read):
        return "alignment"
    return rule


def _segment_rule(cpu: Cpu, access: Access) -> Rule | None:
    register = access.register
    if access.kind == "execute":
        return None if _within(cpu, register, access) else "code-limit"
    if not cpu.real_addressing:
        refused = _type_rule(register, access.kind)
        if refused is not None:
            return refused
    if _within(cpu, register, access):
        return None
    return "expand-down" if _expands_down(cpu, register) else "limit"


def _type_rule(register: SegmentRegister, kind: Kind) -> Rule | None:
    if not register.present:
        return "null"
    code, permits = bit(register.type, 3), bit(register.type, 1)
    if kind == "write" and code:
        return "code-write"
    if kind == "write" and not permits:
        return "read-only"
    return "execute-only" if code and not permits else None


def _expands_down(cpu: Cpu, register: SegmentRegister) -> bool:
    return not cpu.real_addressing and register.type & 0b1100 == 0b0100


def _within(cpu: Cpu, register: SegmentRegister, access: Access) -> bool:
    """Tell whether an access keeps to the limit; what wraps around 4 GiB of flat memory may."""
    last = access.offset + access.size - 1
    if access.kind != "execute" and _expands_down(cpu, register):
        top = _TOP if register.db else 0xFFFF
        return register.limit < access.offset and last <= top
    return register.limit == _TOP or last <= register.limit


def _misaligned(cpu: Cpu, access: Access, read: ReadLinear) -> bool:
    armed = bit(cpu.cr0, _AM) and bit(cpu.eflags, _AC_FLAG) and cpu.cpl == 3
    if not armed or access.alignment < 2:
        return False
    linear = linear_address(cpu, access)
    return linear % access.alignment != 0 and read(linear, access.size) is not None


def _violation(cpu: Cpu, rule: Rule, access: Access) -> Violation:
    vector = AC if rule == "alignment" else SS if access.segment == "ss" else GP
    error_code = None if cpu.mode in ("real", "unreal") else 0
    return Violation(
        rule,
        vector,
        error_code,
        access.segment,
        access.offset,
        access.size,
        access.kind,
        access.register,
        cpu.eip,
    )
