"""GDB's agent expressions: the bytecode of a breakpoint's condition (GDB manual, appendix F).

Only what computes is understood: tracing, floating point, trace variables and ``printf`` are not
part of a condition. Values have 64 bits; operands in the code are big-endian.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from klosdbg.errors import CommandError, ProtocolError
from klosdbg.wire.rsp_replies import parse_hex

MOST_STEPS = 10_000
MOST_STACK = 128

_MASK = (1 << 64) - 1
_CONDITION = re.compile(rb"X([0-9a-fA-F]{1,4}),")
_END = 0x27
_IF_GOTO, _GOTO, _REG = 0x20, 0x21, 0x26
_OPERANDS = {
    0x16: 1, 0x20: 2, 0x21: 2, 0x22: 1, 0x23: 2, 0x24: 4, 0x25: 8, 0x26: 2, 0x2A: 1, 0x32: 1,
}  # fmt: skip
_CONSTANTS = (0x22, 0x23, 0x24, 0x25)
_REFERENCES = {0x17: 1, 0x18: 2, 0x19: 4, 0x1A: 8}


class CannotEvaluate(CommandError):
    """Report a condition that has no value here: it divides by zero, or reads what is not there."""


@dataclass(frozen=True, slots=True)
class AgentExpression:
    """Checked bytecode: by the offset of each instruction its code, operand, and what follows."""

    instructions: Mapping[int, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Machine:
    """What an expression may read: a register by its number, and memory; None where it cannot."""

    register: Callable[[int], int | None]
    memory: Callable[[int, int], bytes | None]


def parse_conditions(payload: bytes) -> tuple[AgentExpression, ...]:
    """Parse what follows ``Z0,addr,kind;``: ``Xlen,bytecode`` once or more.

    ``ProtocolError`` for anything else, and for bytecode that is not understood.
    """
    found = []
    while payload:
        match = _CONDITION.match(payload)
        if not match:
            raise ProtocolError(f"cannot understand the condition {payload[:20]!r}")
        end = match.end() + 2 * int(match[1], 16)
        code = parse_hex(payload[match.end() : end], "bytecode")
        if len(code) != int(match[1], 16):
            raise ProtocolError("the condition's bytecode is shorter than it says")
        found.append(decode_agent_expression(code))
        payload = payload[end:]
    return tuple(found)


def decode_agent_expression(code: bytes) -> AgentExpression:
    """Check bytecode, or raise ``ProtocolError``: each instruction known, each jump to one."""
    instructions: dict[int, tuple[int, int, int]] = {}
    at = 0
    while at < len(code):
        opcode, after = code[at], at + 1 + _OPERANDS.get(code[at], 0)
        if opcode not in _KNOWN or after > len(code):
            raise ProtocolError(f"bytecode {opcode:#04x} at {at} is not understood")
        instructions[at] = opcode, int.from_bytes(code[at + 1 : after]), after
        at = after
    for opcode, operand, after in instructions.values():
        jumps = opcode in (_IF_GOTO, _GOTO)
        if (jumps and operand not in instructions) or (
            opcode not in (_GOTO, _END) and after not in instructions
        ):
            raise ProtocolError("the bytecode runs out of its end")
    if not instructions:
        raise ProtocolError("there is no bytecode")
    return AgentExpression(instructions)


def evaluate(expression: AgentExpression, machine: Machine) -> int:
    """Evaluate an expression to an unsigned 64-bit number, or raise ``CannotEvaluate``."""
    stack: list[int] = []
    at = 0
    for _ in range(MOST_STEPS):
        opcode, operand, after = expression.instructions[at]
        try:
            if opcode == _END:
                return stack[-1]
            at = _next(stack, opcode, operand, after)
            _execute(stack, opcode, operand, machine)
        except IndexError:
            raise CannotEvaluate("the condition's stack is empty") from None
        if len(stack) > MOST_STACK:
            raise CannotEvaluate(f"the condition needs more than {MOST_STACK} values at once")
    raise CannotEvaluate(f"the condition takes more than {MOST_STEPS} steps")


def _next(stack: list[int], opcode: int, operand: int, after: int) -> int:
    if opcode == _GOTO or (opcode == _IF_GOTO and stack.pop()):
        return operand
    return after


def _execute(stack: list[int], opcode: int, operand: int, machine: Machine) -> None:
    if opcode in _BINARY:
        right, left = stack.pop(), stack.pop()
        stack.append(_BINARY[opcode](left, right) & _MASK)
    elif opcode in _UNARY:
        stack.append(_UNARY[opcode](stack.pop(), operand) & _MASK)
    elif opcode in _MOVES:
        _MOVES[opcode](stack, operand)
    elif opcode in _CONSTANTS:
        stack.append(operand)
    elif opcode in _REFERENCES:
        stack.append(_read(machine, stack.pop(), _REFERENCES[opcode]))
    elif opcode == _REG:
        value = machine.register(operand)
        if value is None:
            raise CannotEvaluate(f"the condition reads register {operand}, which there is not")
        stack.append(value & _MASK)


def _read(machine: Machine, address: int, size: int) -> int:
    raw = machine.memory(address, size)
    if raw is None:
        raise CannotEvaluate(f"the condition reads {size} bytes at {address:#x}: not mapped")
    return int.from_bytes(raw, "little")


def _signed(value: int, bits: int = 64) -> int:
    sign = 1 << (bits - 1)
    return ((value & (1 << bits) - 1) ^ sign) - sign


def _divide(left: int, right: int) -> int:
    """Divide as C does, towards zero."""
    if not right:
        raise CannotEvaluate("the condition divides by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - right * _divide(left, right)


def _extend(value: int, bits: int) -> int:
    return _signed(value, bits) if 0 < bits < 64 else value


def _zero_extend(value: int, bits: int) -> int:
    return value & ((1 << bits) - 1)


def _duplicate(stack: list[int], _operand: int) -> None:
    stack.append(stack[-1])


def _pop(stack: list[int], _operand: int) -> None:
    stack.pop()


def _swap(stack: list[int], _operand: int) -> None:
    stack[-1], stack[-2] = stack[-2], stack[-1]


def _pick(stack: list[int], depth: int) -> None:
    stack.append(stack[-1 - depth])


def _rotate(stack: list[int], _operand: int) -> None:
    stack[-1], stack[-2], stack[-3] = stack[-2], stack[-3], stack[-1]


_BINARY: Mapping[int, Callable[[int, int], int]] = {
    0x02: lambda a, b: a + b,
    0x03: lambda a, b: a - b,
    0x04: lambda a, b: a * b,
    0x05: lambda a, b: _divide(_signed(a), _signed(b)),
    0x06: _divide,
    0x07: lambda a, b: _remainder(_signed(a), _signed(b)),
    0x08: _remainder,
    0x09: lambda a, b: a << b if b < 64 else 0,
    0x0A: lambda a, b: _signed(a) >> min(b, 63),
    0x0B: lambda a, b: a >> b,
    0x0F: lambda a, b: a & b,
    0x10: lambda a, b: a | b,
    0x11: lambda a, b: a ^ b,
    0x13: lambda a, b: a == b,
    0x14: lambda a, b: _signed(a) < _signed(b),
    0x15: lambda a, b: a < b,
}
_UNARY: Mapping[int, Callable[[int, int], int]] = {
    0x0E: lambda a, _: not a,
    0x12: lambda a, _: ~a,
    0x16: _extend,
    0x2A: _zero_extend,
}
_MOVES: Mapping[int, Callable[[list[int], int], None]] = {
    0x28: _duplicate,
    0x29: _pop,
    0x2B: _swap,
    0x32: _pick,
    0x33: _rotate,
}
_KNOWN = {
    *_BINARY, *_UNARY, *_MOVES, *_CONSTANTS, *_REFERENCES, _IF_GOTO, _GOTO, _REG, _END,
}  # fmt: skip
