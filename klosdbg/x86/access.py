"""Every access that an instruction is about to make, in the processor's order (SDM Vol. 2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.operation import MemoryOperand, Operation

Kind = Literal["read", "write", "execute"]
ReadLinear = Callable[[int, int], bytes | None]
"""Reads ``size`` bytes at a linear address; None where no page is mapped."""

_GENERAL = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
_BYTES = ("al", "cl", "dl", "bl", "ah", "ch", "dh", "bh")
_MAX_LEVEL = 32


@dataclass(frozen=True, slots=True)
class Access:
    """One access: a segment register's hidden part, an offset, size and ``alignment`` in bytes."""

    register: SegmentRegister
    offset: int
    size: int
    kind: Kind
    alignment: int = 1

    @property
    def segment(self) -> str:
        """The segment register's name."""
        return self.register.name


def register_value(cpu: Cpu, name: str) -> int:
    """Read a general register of any width by its name; 0 where there is no such register."""
    if name in cpu.gpr:
        return cpu.gpr[name]
    if name in _BYTES:
        whole = register_value(cpu, f"e{_GENERAL[_BYTES.index(name) % 4]}")
        return whole >> (8 if name[1] == "h" else 0) & 0xFF
    if name in _GENERAL:
        return register_value(cpu, f"e{name}") & 0xFFFF
    if name in ("eip", "rip"):
        return cpu.eip
    root = f"r{name[1:]}" if name[:1] == "e" else name.rstrip("dwb")
    return cpu.gpr.get(root, 0) & 0xFFFF_FFFF


def operand_access(cpu: Cpu, operand: MemoryOperand, size: int, lifted: int = 0) -> Access:
    """Place a memory operand of an instruction of ``size`` bytes.

    ``lifted`` is what POP has added to ESP by the time that it computes the address.
    """
    base = register_value(cpu, operand.base) if operand.base else 0
    if operand.base in ("esp", "sp", "rsp"):
        base += lifted
    elif operand.base in ("eip", "rip"):
        base += size
    index = register_value(cpu, operand.index) if operand.index else 0
    offset = base + index * operand.scale + operand.displacement
    if operand.bit_index:
        offset += _bit_string(cpu, operand)
    kind: Kind = "write" if operand.write else "read"
    masked = offset & ((1 << operand.bits) - 1)
    register = cpu.segments[operand.segment]
    return Access(register, masked, operand.size, kind, operand.alignment)


def _bit_string(cpu: Cpu, operand: MemoryOperand) -> int:
    width = 8 * operand.size
    raw = register_value(cpu, operand.bit_index) & ((1 << width) - 1)
    signed = raw - (1 << width) if bit(raw, width - 1) else raw
    return signed // width * operand.size


class Stack:
    """The stack as an instruction uses it: pushes and pops become accesses, ESP moves."""

    def __init__(self, cpu: Cpu, size: int) -> None:
        self._register = cpu.segments["ss"]
        self._mask = _stack_mask(cpu)
        self._size = size
        self.pointer = cpu.stack_pointer & self._mask

    def push(self) -> Access:
        """Move ESP down and write there."""
        self.pointer = (self.pointer - self._size) & self._mask
        return self._access("write")

    def pop(self) -> Access:
        """Read at ESP and move it up."""
        access = self._access("read")
        self.drop(self._size)
        return access

    def drop(self, size: int) -> None:
        """Move ESP up by ``size`` bytes."""
        self.pointer = (self.pointer + size) & self._mask

    def at(self, pointer: int, kind: Kind) -> Access:
        """Access an element elsewhere in the stack."""
        return Access(self._register, pointer & self._mask, self._size, kind, self._size)

    def _access(self, kind: Kind) -> Access:
        return self.at(self.pointer, kind)


def _stack_mask(cpu: Cpu) -> int:
    if cpu.mode == "long":
        return (1 << 64) - 1
    return 0xFFFF_FFFF if cpu.segments["ss"].db else 0xFFFF


def stack_size(cpu: Cpu, operation: Operation) -> int:
    """Give the size of a stack element: in 64-bit code never 4 bytes."""
    if cpu.mode == "long" and operation.operand_size == 4:
        return 8
    return operation.operand_size


def plain_accesses(cpu: Cpu, operation: Operation) -> Iterator[Access]:
    """List the data and stack accesses of an instruction that is no branch."""
    if operation.is_string and operation.repeated and not _count(cpu, operation):
        return
    stack = Stack(cpu, stack_size(cpu, operation))
    name = operation.mnemonic
    if name.startswith("pop") and name != "popcnt":
        yield from _pops(cpu, operation, stack)
        return
    for operand in operation.memory:
        yield operand_access(cpu, operand, operation.size)
    if name.startswith("push"):
        for _ in range(8 if name.startswith("pusha") else 1):
            yield stack.push()
    elif name == "enter":
        yield from _enter(cpu, operation, stack)
    elif name == "leave":
        yield stack.at(register_value(cpu, "ebp"), "read")


def _pops(cpu: Cpu, operation: Operation, stack: Stack) -> Iterator[Access]:
    size = stack_size(cpu, operation)
    for _ in range(8 if operation.mnemonic.startswith("popa") else 1):
        yield stack.pop()
    for operand in operation.memory:
        yield operand_access(cpu, operand, operation.size, lifted=size)


def _enter(cpu: Cpu, operation: Operation, stack: Stack) -> Iterator[Access]:
    room, level = operation.immediates[0], operation.immediates[1] % _MAX_LEVEL
    size = stack_size(cpu, operation)
    frame = register_value(cpu, "ebp")
    yield stack.push()
    for nested in range(1, level):
        yield stack.at(frame - nested * size, "read")
        yield stack.push()
    if level:
        yield stack.push()
    yield stack.at(stack.pointer - (room & 0xFFFF), "write")


def _count(cpu: Cpu, operation: Operation) -> int:
    letter = {16: "", 32: "e", 64: "r"}[operation.address_bits]
    return register_value(cpu, f"{letter}cx")
