"""Disassembly, through capstone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at a linear address; ``target`` is the linear address that it branches to."""

    address: int
    raw: bytes
    mnemonic: str
    operands: str
    target: int | None = None

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.raw)

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".rstrip()


def disassemble(code: bytes, address: int, bits: int, count: int) -> list[Instruction]:
    """Disassemble up to ``count`` instructions; a byte that begins none becomes ``(bad)``."""
    return list(_instructions(code, address, bits, count))


def _instructions(code: bytes, address: int, bits: int, count: int) -> Iterator[Instruction]:
    engine = _engine(bits)
    at = 0
    while count > 0 and at < len(code):
        found = list(engine.disasm_lite(code[at:], address + at, count))
        for start, size, mnemonic, operands in found:
            raw = code[start - address : start - address + size]
            yield Instruction(start, raw, mnemonic, operands, _target(mnemonic, operands))
            at, count = at + size, count - 1
        if count > 0 and at < len(code):
            if len(code) - at < 15 and found:
                return
            yield Instruction(address + at, code[at : at + 1], "(bad)", "")
            at, count = at + 1, count - 1


@cache
def _engine(bits: int) -> Any:
    import capstone

    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    return capstone.Cs(capstone.CS_ARCH_X86, mode)


def _target(mnemonic: str, operands: str) -> int | None:
    if mnemonic.startswith(("j", "call", "loop")) and operands.startswith("0x"):
        return int(operands.partition(",")[0], 16)
    return None
