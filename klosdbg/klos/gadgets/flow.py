"""Following a selector through straight-line code, from the load of its immediate."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from klosdbg.x86.disasm import Instruction

_RETURNS = ("ret", "retf", "iretd", "iret")
_SEGMENTS = ("ds", "es", "fs", "gs", "ss", "cs")
_WORDS = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
_FULL = {part: f"e{word}" for word in _WORDS for part in (word, f"e{word}")} | {
    f"{letter}{half}": f"e{letter}x" for letter in "abcd" for half in "lh"
}
_REPLACES = ("mov", "movzx", "movsx", "lea", "pop")
_ABSOLUTE = re.compile(r"\[0x([0-9a-f]+)\]")


@dataclass(slots=True)
class _State:
    general: set[str] = field(default_factory=set)
    segments: set[str] = field(default_factory=set)
    own_stack: bool = False

    @property
    def held(self) -> str:
        return ", ".join(sorted(self.general | self.segments)).upper()


def loaded_register(instruction: Instruction, selector: int) -> str | None:
    """Name the register that an instruction loads with an immediate ending in a selector."""
    left, _, right = instruction.operands.partition(", ")
    if instruction.mnemonic != "mov" or left not in _FULL or not right.startswith("0x"):
        return None
    return _FULL[left] if int(right, 16) & 0xFFFF == selector else None


def escape(instructions: Sequence[Instruction], register: str, app_top: int) -> tuple[int, str]:
    """Follow a selector from the instruction after its load.

    Returns how many instructions it takes, and how it escapes to the caller: empty where it is
    overwritten first, or where OS code goes on with it.
    """
    state = _State({register})
    for number, instruction in enumerate(instructions, 1):
        out = _escapes(instruction, state, app_top)
        if out is not None:
            return number, out
        _move(instruction, state)
        if not state.general and not state.segments:
            return number, ""
    return len(instructions), ""


def _escapes(instruction: Instruction, state: _State, app_top: int) -> str | None:
    """Say how a selector escapes by an instruction; empty where the way ends, None to go on."""
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic in _RETURNS:
        return f"returns to the caller with DSOS in {state.held}"
    if mnemonic.startswith(("call", "jmp", "lcall", "ljmp")):
        if instruction.target is not None:
            return ""
        return f"goes where {operands} says, with DSOS in {state.held}"
    if mnemonic.startswith(("j", "loop", "int", "hlt", "(bad)")):
        return ""
    return _stores(mnemonic, operands, state, app_top)


def _stores(mnemonic: str, operands: str, state: _State, app_top: int) -> str | None:
    left, _, right = operands.partition(", ")
    if mnemonic == "push" and not state.own_stack and _holds(left, state):
        return f"pushes {left}, which holds DSOS, onto the caller's stack"
    if mnemonic == "mov" and left.endswith("]") and _holds(right, state):
        place = _ABSOLUTE.search(left)
        if place is None or int(place[1], 16) < app_top:
            return f"stores {right}, which holds DSOS, where the caller's registers say"
    return None


def _holds(operand: str, state: _State) -> bool:
    return _FULL.get(operand) in state.general or operand in state.segments


def _move(instruction: Instruction, state: _State) -> None:
    mnemonic = instruction.mnemonic
    left, _, right = instruction.operands.partition(", ")
    if left in _SEGMENTS:
        _set(state.segments, left, mnemonic == "mov" and _holds(right, state))
    elif left in _FULL:
        clears = mnemonic in _REPLACES or (mnemonic in ("xor", "sub") and left == right)
        if mnemonic == "mov" and _holds(right, state):
            state.general.add(_FULL[left])
        elif clears:
            state.general.discard(_FULL[left])
        state.own_stack |= left == "esp" and mnemonic == "mov"


def _set(names: set[str], name: str, holds: bool) -> None:
    if holds:
        names.add(name)
    else:
        names.discard(name)
