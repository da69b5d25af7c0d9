"""Following code from where an event enters it to where it leaves by a far transfer."""

import re
from collections import deque
from dataclasses import dataclass, replace

from klosdbg.errors import KlosdbgError
from klosdbg.ports import Memory
from klosdbg.x86.disasm import Instruction, disassemble
from klosdbg.x86.paging import PAGE

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
_PREFIXES = b"\x66\x67\x26\x2e\x36\x3e\x64\x65"
_FAR_JUMP = 5
_DIRECT = re.compile(r"(0x[0-9a-f]+|\d+):(0x[0-9a-f]+|\d+)")
_THROUGH_MEMORY = re.compile(r"(?:dword ptr )?cs:\[(0x[0-9a-f]+|\d+)\]")


@dataclass(frozen=True, slots=True)
class Exit:
    """A far transfer, or a halt: its linear address and the linear start of its basic block.

    ``before`` holds the mnemonics of its block that come before it; ``after`` is what follows it.
    """

    kind: str
    address: int
    block: int
    before: tuple[str, ...]
    after: int


@dataclass(frozen=True, slots=True)
class _Way:
    """Where code goes on: linear, and its segment in real mode."""

    address: int
    segment: int | None


@dataclass(frozen=True, slots=True)
class _Block:
    exit: Exit | None
    next: tuple[_Way, ...]


class Flow:
    """Basic blocks of a guest's code, disassembled once. Calls are taken to return.

    So are far jumps of protected mode where there are ``tasks``: when another one jumps back.
    """

    def __init__(self, memory: Memory, tasks: bool = False) -> None:
        self._memory = memory
        self._tasks = tasks
        self._pages: dict[int, bytes] = {}
        self._blocks: dict[tuple[_Way, int], _Block] = {}

    def exits(self, start: int, bits: int, segment: int | None = None) -> tuple[Exit, ...]:
        """List the far transfers that code at a linear address can come to, nearest first.

        ``segment`` is CS in real mode, where branches wrap at 64 KiB and far jumps are followed.
        Total: code that cannot be read or followed has none.
        """
        found: list[Exit] = []
        begin = _Way(start, segment)
        seen = {begin}
        ahead = deque((begin,))
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

    def _block(self, start: _Way, bits: int) -> _Block:
        key = (start, bits)
        if key not in self._blocks:
            self._blocks[key] = self._read_block(start, bits)
        return self._blocks[key]

    def _read_block(self, start: _Way, bits: int) -> _Block:
        at = start.address
        before: list[str] = []
        while len(before) < _MOST_IN_BLOCK:
            code = self._code(at)
            instructions = disassemble(code, at, bits, _WINDOW // 4) if code else []
            if not instructions:
                return _Block(None, ())
            for instruction in instructions:
                ended = _end(instruction, start, tuple(before))
                if ended:
                    return self._chained(ended, instruction, start)
                before.append(instruction.mnemonic)
                at += instruction.size
        return _Block(None, (_Way(at, start.segment),))

    def _chained(self, block: _Block, jump: Instruction, start: _Way) -> _Block:
        """Go on where a far jump of real mode leads: handlers chain to older ones by it."""
        if self._tasks and start.segment is None and _jumps_far(jump):
            return replace(block, next=(_Way(jump.address + jump.size, None),))
        if start.segment is None or block.exit is None or block.exit.kind != "ljmp":
            return block
        if direct := _DIRECT.fullmatch(jump.operands):
            segment, offset = (int(part, 0) for part in direct.groups())
        elif (held := _THROUGH_MEMORY.fullmatch(jump.operands)) and (
            raw := self._code((start.segment << 4) + int(held[1], 0))[:4]
        ):
            offset, segment = (int.from_bytes(raw[i : i + 2], "little") for i in (0, 2))
        else:
            return block
        return replace(block, next=(_Way((segment << 4) + (offset & 0xFFFF), segment),))

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


def _jumps_far(jump: Instruction) -> bool:
    code = jump.raw.lstrip(_PREFIXES)
    return code[:1] == b"\xea" or (code[:1] == b"\xff" and code[1] >> 3 & 7 == _FAR_JUMP)


def _end(instruction: Instruction, start: _Way, before: tuple[str, ...]) -> _Block | None:
    """Tell how an instruction ends a block; None where it does not."""
    name = instruction.mnemonic.split()[-1]
    after = instruction.address + instruction.size
    if name in _FAR:
        following = (_Way(after, start.segment),) if name == "lcall" else ()
        found = Exit(_FAR[name], instruction.address, start.address, before, after)
        return _Block(found, following)
    if name in _ENDS:
        return _Block(None, ())
    if name.startswith(("j", "loop")):
        taken = () if instruction.target is None else (_near(instruction.target, start),)
        return _Block(None, taken if name == "jmp" else (*taken, _Way(after, start.segment)))
    return None


def _near(target: int, start: _Way) -> _Way:
    if start.segment is None:
        return _Way(target, None)
    base = start.segment << 4
    return _Way(base + (target - base & 0xFFFF), start.segment)
