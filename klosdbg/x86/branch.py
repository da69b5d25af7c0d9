"""Where a branch leads: near targets, and far ones through the descriptor tables (SDM Vol. 2)."""

from collections.abc import Iterator

from klosdbg.x86.access import (
    Access,
    ReadLinear,
    Stack,
    operand_access,
    register_value,
    stack_size,
)
from klosdbg.x86.bits import bit, bits
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.descriptor import Descriptor, Gate, Segment, decode_descriptor
from klosdbg.x86.operation import Operation
from klosdbg.x86.selector import Selector

_CF, _PF, _ZF, _SF, _OF, _NT, _VM = 0, 2, 6, 7, 11, 14, 17
_FAR = {"ljmp", "lcall"}
_FAR_RETURNS = {"retf", "lret", "retfq"}
_INTERRUPT_RETURNS = {"iret", "iretd", "iretq"}
_LOOPS = {"loop", "loope", "loopne", "jcxz", "jecxz", "jrcxz"}


def is_branch(operation: Operation) -> bool:
    """Tell whether an instruction may go elsewhere; software interrupts are none of these."""
    name = operation.mnemonic.split()[-1]
    named = name in _FAR_RETURNS | _INTERRUPT_RETURNS | _LOOPS | _FAR
    return named or name.startswith(("j", "call", "ret"))


def branch_accesses(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    """List what a branch reads, where it leads, and what it pushes."""
    name = operation.mnemonic.split()[-1]
    if name in _INTERRUPT_RETURNS:
        yield from _interrupt_return(cpu, operation, read)
    elif name in _FAR_RETURNS:
        yield from _far_return(cpu, operation, read)
    elif name.startswith("ret"):
        yield from _near_return(cpu, operation, read)
    elif name in _FAR or (operation.opcode[0] == 0xFF and operation.extension in (3, 5)):
        yield from _far(cpu, operation, read)
    elif _taken(cpu, operation, name):
        yield from _near(cpu, operation, read, name)


def _near(cpu: Cpu, operation: Operation, read: ReadLinear, name: str) -> Iterator[Access]:
    if operation.memory:
        pointer = operand_access(cpu, operation.memory[0], operation.size)
        yield pointer
        target = _value(cpu, pointer, read)
    elif operation.immediates:
        target = cpu.eip + operation.immediates[0]
    else:
        target = register_value(cpu, operation.register)
    if target is not None:
        yield _landing(cpu.segments["cs"], target, operation)
    if name == "call":
        yield Stack(cpu, stack_size(cpu, operation)).push()


def _near_return(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    pointer = Stack(cpu, stack_size(cpu, operation)).pop()
    yield pointer
    target = _value(cpu, pointer, read)
    if target is not None:
        yield _landing(cpu.segments["cs"], target, operation)


def _far(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    place: tuple[int, int] | None = None
    if operation.memory:
        pointer = operand_access(cpu, operation.memory[0], operation.size)
        yield pointer
        place = _far_pointer(cpu, pointer, read)
    elif len(operation.immediates) == 2:
        place = operation.immediates[0], operation.immediates[1]
    if place is None:
        return
    target = _far_target(cpu, *place, read)
    call = operation.mnemonic.endswith("call")
    if target is not None:
        yield _landing(target[0], target[1], operation)
    if call and (cpu.real_addressing or (target is not None and _same_ring(cpu, target[0]))):
        stack = Stack(cpu, operation.operand_size)
        yield stack.push()
        yield stack.push()


def _far_return(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    stack = Stack(cpu, operation.operand_size)
    slots = [stack.pop(), stack.pop()]
    yield from slots
    offset, selector = (_value(cpu, slot, read) for slot in slots)
    if offset is None or selector is None:
        return
    if not cpu.real_addressing and selector & 3 > cpu.cpl:
        stack.drop(operation.immediates[0] if operation.immediates else 0)
        yield stack.pop()
        yield stack.pop()
    yield from _return_landing(cpu, operation, selector & 0xFFFF, offset, read)


def _interrupt_return(cpu: Cpu, operation: Operation, read: ReadLinear) -> Iterator[Access]:
    if bit(cpu.eflags, _NT) and not cpu.real_addressing:
        return
    stack = Stack(cpu, operation.operand_size)
    slots = [stack.pop() for _ in range(3)]
    yield from slots
    offset, selector, flags = (_value(cpu, slot, read) for slot in slots)
    if offset is None or selector is None or flags is None:
        return
    if bit(flags, _VM) and cpu.cpl == 0 and not cpu.real_addressing:
        yield from (stack.pop() for _ in range(6))
        return
    if cpu.mode == "long" or (not cpu.real_addressing and selector & 3 > cpu.cpl):
        yield from (stack.pop() for _ in range(2))
    yield from _return_landing(cpu, operation, selector & 0xFFFF, offset, read)


def _return_landing(
    cpu: Cpu, operation: Operation, selector: int, offset: int, read: ReadLinear
) -> Iterator[Access]:
    if cpu.real_addressing:
        yield _landing(cpu.segments["cs"], offset, operation)
        return
    rpl = selector & 3
    segment = _segment(cpu, selector, read)
    if segment is None or rpl < cpu.cpl:
        return
    if segment.dpl == rpl or (segment.conforming and segment.dpl <= rpl):
        yield _landing(_loaded(selector, segment), offset, operation)


def _landing(register: SegmentRegister, target: int, operation: Operation) -> Access:
    mask = {2: 0xFFFF, 4: 0xFFFF_FFFF}.get(operation.operand_size, (1 << 64) - 1)
    return Access(register, target & mask, 1, "execute")


def _value(cpu: Cpu, access: Access, read: ReadLinear) -> int | None:
    raw = read(linear_address(cpu, access), access.size)
    return None if raw is None else int.from_bytes(raw, "little")


def linear_address(cpu: Cpu, access: Access) -> int:
    """Give the linear address of an access; long mode has a base in FS and GS alone."""
    if cpu.mode == "long":
        base = access.register.base if access.segment in ("fs", "gs") else 0
        return (base + access.offset) & ((1 << 64) - 1)
    return (access.register.base + access.offset) & 0xFFFF_FFFF


def _far_pointer(cpu: Cpu, access: Access, read: ReadLinear) -> tuple[int, int] | None:
    raw = read(linear_address(cpu, access), access.size)
    if raw is None:
        return None
    return int.from_bytes(raw[-2:], "little"), int.from_bytes(raw[:-2], "little")


def _far_target(
    cpu: Cpu, selector: int, offset: int, read: ReadLinear
) -> tuple[SegmentRegister, int] | None:
    """Follow a far pointer to the code that it enters; None where something else is wrong."""
    if cpu.real_addressing:
        return cpu.segments["cs"], offset
    found = read_descriptor(cpu, selector, read)
    if isinstance(found, Gate) and found.kind == "call-gate" and found.present:
        selector, offset = found.target_selector, found.offset
        segment = _segment(cpu, selector, read)
        return None if segment is None else (_loaded(selector, segment), offset)
    if not (isinstance(found, Segment) and found.executable and found.present):
        return None
    inner = found.dpl <= cpu.cpl if found.conforming else found.dpl == cpu.cpl
    allowed = inner and (found.conforming or selector & 3 <= cpu.cpl)
    return (_loaded(selector, found), offset) if allowed else None


def _same_ring(cpu: Cpu, register: SegmentRegister) -> bool:
    return register.dpl == cpu.cpl or bits(register.flags, 11, 10) == 3


def _segment(cpu: Cpu, selector: int, read: ReadLinear) -> Segment | None:
    found = read_descriptor(cpu, selector, read)
    usable = isinstance(found, Segment) and found.executable and found.present
    return found if usable and isinstance(found, Segment) else None


def entry_address(cpu: Cpu, value: int) -> int | None:
    """Give the linear address of a selector's descriptor; None where there is none."""
    selector = Selector(value & 0xFFFF)
    ldtr = cpu.segments["ldtr"]
    table = ldtr if selector.table == "ldt" else cpu.gdtr
    absent = selector.table == "ldt" and not ldtr.present
    if selector.null or absent or selector.byte_offset + 7 > table.limit:
        return None
    return table.base + selector.byte_offset


def read_descriptor(cpu: Cpu, selector: int, read: ReadLinear) -> Descriptor | None:
    """Read the descriptor that a selector selects; None where there is none."""
    address = entry_address(cpu, selector)
    raw = None if address is None else read(address, 8)
    return None if raw is None else decode_descriptor(raw)


def _loaded(selector: int, segment: Segment) -> SegmentRegister:
    high = int.from_bytes(segment.raw[4:], "little")
    return SegmentRegister("cs", selector, segment.base, segment.last_byte, high)


def _taken(cpu: Cpu, operation: Operation, name: str) -> bool:
    if name in ("jmp", "call"):
        return True
    if name in _LOOPS:
        return _loops(cpu, operation, name)
    first, second = operation.opcode
    return _condition(cpu.eflags, (second if first == 0x0F else first) & 0xF)


def _loops(cpu: Cpu, operation: Operation, name: str) -> bool:
    letter = {16: "", 32: "e", 64: "r"}[operation.address_bits]
    count = register_value(cpu, f"{letter}cx")
    if name.startswith("j"):
        return count == 0
    zero = bit(cpu.eflags, _ZF)
    return count != 1 and {"loop": True, "loope": zero, "loopne": not zero}[name]


def _condition(flags: int, code: int) -> bool:
    less = bit(flags, _SF) != bit(flags, _OF)
    zero = bit(flags, _ZF)
    holds = (
        bit(flags, _OF),
        bit(flags, _CF),
        zero,
        bit(flags, _CF) or zero,
        bit(flags, _SF),
        bit(flags, _PF),
        less,
        less or zero,
    )[code >> 1]
    return holds != bool(code & 1)
