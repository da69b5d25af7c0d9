"""Following code from where an event enters it to where it leaves by a far transfer."""

from collections import deque
from dataclasses import dataclass

from klosdbg.errors import KlosdbgError
from klosdbg.ports import Memory
from klosdbg.x86.disasm import Instruction, disassemble

PAGE = 4096
_WINDOW = 64
_MOST_BLOCKS = 256
_MOST_IN_BLOCK = 64
_FAR = {
    "iret": "iret",
    "iretd": "iret",
    "iretq": "iret",
    "lret": "lret",
    "retf": "lret",
    "retfq": "lret",
    "lcall": "lcall",
    "ljmp": "ljmp",
    "sysexit": "sysexit",
    "sysret": "sysret",
    "hlt": "hlt",
}
_ENDS = ("ret", "(bad)", "ud2")


@dataclass(frozen=True, slots=True)
class Exit:
    """A far transfer, or a halt: its linear address and the linear start of its basic block.

    ``before`` holds the mnemonics of its block that come before it.
    """

    kind: str
    address: int
    block: int
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Block:
    exit: Exit | None
    next: tuple[int, ...]


class Flow:
    """Basic blocks of a guest's code, disassembled once. Calls are taken to return."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pages: dict[int, bytes] = {}
        self._blocks: dict[tuple[int, int], _Block] = {}

    def exits(self, start: int, bits: int) -> tuple[Exit, ...]:
        """List the far transfers that code at a linear address can come to, nearest first.

        Total: code that cannot be read or followed has none.
        """
        found: list[Exit] = []
        seen = {start}
        ahead = deque((start,))
        while ahead and len(seen) < _MOST_BLOCKS:
            block = self._block(ahead.popleft(), bits)
            if block.exit:
                found.append(block.exit)
            for following in block.next:
                if following not in seen:
                    seen.add(following)
                    ahead.append(following)
        return tuple({e.address: e for e in reversed(found)}.values())[::-1]

    def instruction(self, address: int, bits: int) -> Instruction | None:
        """Disassemble one instruction at a linear address; None where memory cannot be read."""
        code = self._code(address)
        return next(iter(disassemble(code, address, bits, 1)), None) if code else None

    def _block(self, start: int, bits: int) -> _Block:
        key = (start, bits)
        if key not in self._blocks:
            self._blocks[key] = self._read_block(start, bits)
        return self._blocks[key]

    def _read_block(self, start: int, bits: int) -> _Block:
        at = start
        before: list[str] = []
        while len(before) < _MOST_IN_BLOCK:
            code = self._code(at)
            instructions = disassemble(code, at, bits, _WINDOW // 4) if code else []
            if not instructions:
                return _Block(None, ())
            for instruction in instructions:
                ended = _end(instruction, start, tuple(before))
                if ended:
                    return ended
                before.append(instruction.mnemonic)
                at += instruction.size
        return _Block(None, (at,))

    def _code(self, address: int) -> bytes:
        page = address & ~(PAGE - 1)
        code = self._page(page)[address - page :][:_WINDOW]
        if len(code) < _WINDOW:
            code += self._page(page + PAGE)[: _WINDOW - len(code)]
        return code

    def _page(self, address: int) -> bytes:
        if address not in self._pages:
            try:
                self._pages[address] = self._memory.read(address, PAGE)
            except KlosdbgError:
                self._pages[address] = b""
        return self._pages[address]


def _end(instruction: Instruction, block: int, before: tuple[str, ...]) -> _Block | None:
    """Tell how an instruction ends a block; None where it does not."""
    name = instruction.mnemonic.split()[-1]
    after = instruction.address + instruction.size
    if name in _FAR:
        following = (after,) if name == "lcall" else ()
        return _Block(Exit(_FAR[name], instruction.address, block, before), following)
    if name in _ENDS:
        return _Block(None, ())
    if name.startswith(("j", "loop")):
        taken = () if instruction.target is None else (instruction.target,)
        return _Block(None, taken if name == "jmp" else (*taken, after))
    return None
