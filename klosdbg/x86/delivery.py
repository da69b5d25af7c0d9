"""Taking an exception by hand: what the processor would push and load (SDM Vol. 3A, 6.12)."""

from dataclasses import dataclass, field

from klosdbg.x86.access import ReadLinear
from klosdbg.x86.bits import bits
from klosdbg.x86.branch import entry_address, read_descriptor
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.descriptor import Descriptor, Gate, Segment, decode_gate
from klosdbg.x86.vectors import vector_name

_IF, _TF, _NT, _RF, _VM = 1 << 9, 1 << 8, 1 << 14, 1 << 16, 1 << 17
_ACCESSED = 1
_DATA_SEGMENTS = ("ds", "es", "fs", "gs")
_DB = 1
_REAL = ("real", "unreal")


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception to be taken: ``resume`` is the EIP to be saved, ``error_code`` may be none."""

    vector: int
    error_code: int | None
    resume: int

    @property
    def name(self) -> str:
        """The exception's name, ``#GP``."""
        return vector_name(self.vector) or f"vector {self.vector}"


@dataclass(slots=True)
class Delivery:
    """What to write, in this order: memory by linear address, then registers by name."""

    memory: list[tuple[int, bytes]] = field(default_factory=list)
    registers: list[tuple[str, int]] = field(default_factory=list)


class _CannotDeliver(Exception):
    """Carry the sentence that says why the processor could not deliver it either."""


def plan_delivery(cpu: Cpu, fault: Fault, read: ReadLinear) -> Delivery | str:
    """Plan how a fault is taken through the live IDT; a sentence where it cannot be."""
    try:
        if cpu.mode in ("long", "compatibility"):
            raise _CannotDeliver("64-bit gates are not delivered by hand: leave out --deliver")
        if cpu.mode in _REAL:
            return _through_vector(cpu, fault, read)
        return _through_gate(cpu, fault, read)
    except _CannotDeliver as error:
        return str(error)


def _through_vector(cpu: Cpu, fault: Fault, read: ReadLinear) -> Delivery:
    where = cpu.idtr.base + 4 * fault.vector
    raw = read(where, 4) if 4 * fault.vector + 3 <= cpu.idtr.limit else None
    if raw is None:
        raise _CannotDeliver(f"the IVT has no vector for {fault.name}: look at 'ivt'")
    values = [cpu.eflags, cpu.segments["cs"].selector, fault.resume]
    delivery = Delivery()
    pointer = _push(delivery, cpu.segments["ss"], cpu.stack_pointer, 2, values, read)
    offset, selector = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:], "little")
    delivery.registers += [("eflags", cpu.eflags & ~(_IF | _TF | _RF)), ("esp", pointer)]
    delivery.registers += [("cs", selector), ("eip", offset)]
    return delivery


def _through_gate(cpu: Cpu, fault: Fault, read: ReadLinear) -> Delivery:
    gate = _gate(cpu, fault, read)
    code = _code(cpu, fault, gate, read)
    inner = not code.conforming and code.dpl < cpu.cpl
    delivery = Delivery()
    ring = code.dpl if inner else cpu.cpl
    stack, pointer = cpu.segments["ss"], cpu.stack_pointer
    if inner:
        stack, pointer = _inner_stack(cpu, ring, read)
        _mark_accessed(delivery, cpu, stack.selector, read)
    _mark_accessed(delivery, cpu, gate.target_selector, read)
    values = _frame(cpu, fault, inner)
    pointer = _push(delivery, stack, pointer, gate.bits // 8, values, read)
    delivery.registers.append(("eflags", _new_flags(cpu.eflags, gate)))
    if inner:
        delivery.registers.append(("ss", stack.selector))
    delivery.registers += [("esp", pointer), ("cs", (gate.target_selector & ~3) | ring)]
    delivery.registers.append(("eip", gate.offset))
    if cpu.mode == "v86":
        delivery.registers += [(name, 0) for name in _DATA_SEGMENTS]
    return delivery


def _gate(cpu: Cpu, fault: Fault, read: ReadLinear) -> Gate:
    fits = 8 * fault.vector + 7 <= cpu.idtr.limit
    raw = read(cpu.idtr.base + 8 * fault.vector, 8) if fits else None
    if raw is None:
        raise _CannotDeliver(f"the IDT has no gate for {fault.name}: {_DOUBLE_FAULT}")
    gate = decode_gate(raw)
    if isinstance(gate, Gate) and gate.kind == "task-gate":
        raise _CannotDeliver(
            f"{fault.name} goes through a task gate, which is not delivered by hand: "
            "put an interrupt gate there, or leave out --deliver"
        )
    usable = isinstance(gate, Gate) and gate.kind in ("interrupt-gate", "trap-gate")
    if not (isinstance(gate, Gate) and usable and gate.present):
        raise _CannotDeliver(f"the gate for {fault.name} is not usable: {_DOUBLE_FAULT}")
    return gate


_DOUBLE_FAULT = "a processor would go on to #DF: look at 'idt'"


def _code(cpu: Cpu, fault: Fault, gate: Gate, read: ReadLinear) -> Segment:
    code = read_descriptor(cpu, gate.target_selector, read)
    if isinstance(code, Segment) and code.executable and code.present and code.dpl <= cpu.cpl:
        return code
    raise _CannotDeliver(
        f"the gate for {fault.name} leads to {gate.target_selector:#06x}, "
        f"which is no code that can be entered: {_DOUBLE_FAULT}"
    )


def _inner_stack(cpu: Cpu, ring: int, read: ReadLinear) -> tuple[SegmentRegister, int]:
    """Find the stack of an inner ring in the TSS."""
    tr = cpu.segments["tr"]
    size = 2 if tr.type in (1, 3) else 4
    place = (2 if size == 2 else 4) + 2 * size * ring
    raw = read(tr.base + place, size + 2) if place + size + 1 <= tr.limit else None
    if raw is None or not tr.present:
        raise _CannotDeliver(f"the TSS has no stack for ring {ring}: look at 'tss'")
    pointer, selector = int.from_bytes(raw[:size], "little"), int.from_bytes(raw[size:], "little")
    found = read_descriptor(cpu, selector, read)
    if not _is_stack(found, selector, ring):
        raise _CannotDeliver(
            f"the TSS's stack {selector:#06x} cannot be ring {ring}'s: a processor would "
            "raise #TS: look at 'tss'"
        )
    assert isinstance(found, Segment)
    high = int.from_bytes(found.raw[4:], "little")
    return SegmentRegister("ss", selector, found.base, found.last_byte, high), pointer


def _is_stack(found: Descriptor | None, selector: int, ring: int) -> bool:
    usable = isinstance(found, Segment) and found.writable and found.present
    return usable and found is not None and found.dpl == ring == selector & 3


def _frame(cpu: Cpu, fault: Fault, inner: bool) -> list[int]:
    """List what is pushed, first to last. A fault's saved EFLAGS has RF set, a trap's has not."""
    held = {name: register.selector for name, register in cpu.segments.items()}
    values = [held[n] for n in ("gs", "fs", "ds", "es")] if cpu.mode == "v86" else []
    values += [held["ss"], cpu.stack_pointer] if inner else []
    flags = cpu.eflags if fault.vector == _DB else cpu.eflags | _RF
    values += [flags, held["cs"], fault.resume]
    return values if fault.error_code is None else [*values, fault.error_code]


def _push(
    delivery: Delivery,
    register: SegmentRegister,
    pointer: int,
    size: int,
    values: list[int],
    read: ReadLinear,
) -> int:
    """Push values on a stack, first to last, and return ESP after that."""
    mask = 0xFFFF_FFFF if register.db else 0xFFFF
    kept = pointer & ~mask
    for value in values:
        pointer = (pointer - size) & mask
        linear = (register.base + pointer) & 0xFFFF_FFFF
        if not _holds(register, pointer, size) or read(linear, size) is None:
            raise _CannotDeliver(
                f"the frame does not fit the stack at ss:{pointer:#x}: "
                "a processor would go on to #DF or shut down"
            )
        raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        delivery.memory.append((linear, raw))
    return kept | pointer


def _holds(register: SegmentRegister, pointer: int, size: int) -> bool:
    last = pointer + size - 1
    if bits(register.type, 3, 2) == 1:
        return register.limit < pointer and last <= (0xFFFF_FFFF if register.db else 0xFFFF)
    return last <= register.limit


def _mark_accessed(delivery: Delivery, cpu: Cpu, selector: int, read: ReadLinear) -> None:
    """Set the accessed bit of a descriptor that is loaded, as the processor does."""
    place = entry_address(cpu, selector)
    raw = read(place + 5, 1) if place is not None else None
    if place is not None and raw and not raw[0] & _ACCESSED:
        delivery.memory.append((place + 5, bytes([raw[0] | _ACCESSED])))


def _new_flags(flags: int, gate: Gate) -> int:
    cleared = _TF | _NT | _RF | _VM
    return flags & ~(cleared | (_IF if gate.kind == "interrupt-gate" else 0))
