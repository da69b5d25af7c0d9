"""What an instruction does to memory, read off its bytes by capstone (SDM Vol. 2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import capstone

_UNTOUCHED = ("lea", "nop", "prefetch", "invlpg", "clflush", "clwb", "cldemote")
_ONLY_READ = frozenset(
    [
        "cmp",
        "test",
        "bt",
        "push",
        "call",
        "lcall",
        "jmp",
        "ljmp",
        "mul",
        "imul",
        "div",
        "idiv",
        "lgdt",
        "lidt",
        "lldt",
        "ltr",
        "lmsw",
        "verr",
        "verw",
        "fxrstor",
        "xrstor",
        "frstor",
        "ldmxcsr",
        "bound",
        "comiss",
        "comisd",
        "ucomiss",
        "ucomisd",
        "ptest",
        "out",
        "outsb",
        "outsw",
        "outsd",
    ]
)
_FPU_STORES = ("fst", "fnst", "fist", "fbst", "fnsave", "fxsave")
_SIZES = {"fxsave": 512, "fxrstor": 512, "xsave": 576, "xrstor": 576}
_STATE_SIZES = {"fnsave": (94, 108), "frstor": (94, 108), "fnstenv": (14, 28), "fldenv": (14, 28)}
_FAR_LOADS = ("lds", "les", "lfs", "lgs", "lss")
_STRINGS = ("movs", "cmps", "stos", "lods", "scas", "ins", "outs")
_ALIGNED_LESS = {10: 8, 94: 2, 14: 2, 108: 4, 28: 4, 512: 16, 576: 64, 6: 4}
_ESCAPES = range(0xD8, 0xE0)


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """One memory operand: ``size`` and ``alignment`` in bytes, ``bits`` the address's width.

    ``bit_index`` names the register that moves a bit string's operand, if one does.
    """

    segment: str
    base: str
    index: str
    scale: int
    displacement: int
    bits: int
    size: int
    alignment: int
    write: bool
    bit_index: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction, decoded; ``operand_size`` is in bytes, ``opcode`` its first two bytes.

    ``immediates`` are what the encoding holds; of a near branch, the target less EIP.
    ``register`` is the operand of an indirect branch through a register.
    """

    raw: bytes
    mnemonic: str
    operands: str
    opcode: tuple[int, int]
    extension: int
    operand_size: int
    address_bits: int
    memory: tuple[MemoryOperand, ...] = ()
    immediates: tuple[int, ...] = ()
    register: str = ""
    repeated: bool = False
    valid: bool = True

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.raw)

    @property
    def is_fpu(self) -> bool:
        """Tell x87, MMX and SSE, which may raise #NM or #UD before they touch memory."""
        x87 = self.opcode[0] in _ESCAPES and self.mnemonic.startswith("f")
        return x87 or self.mnemonic.startswith(("fxs", "fxr")) or "mm" in self.operands

    @property
    def is_string(self) -> bool:
        """Tell an instruction that walks with ESI or EDI."""
        return self.opcode[0] in _STRING_OPCODES and self.mnemonic.split()[-1].startswith(_STRINGS)

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".rstrip()


_STRING_OPCODES = frozenset((*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0)))


@lru_cache(maxsize=65536)
def decode_operation(code: bytes, bits: int) -> Operation:
    """Decode the instruction that ``code`` begins with, in 16-, 32- or 64-bit code. Total."""
    found = next(_engine(bits).disasm(code[:15], 0, 1), None)
    if found is None:
        return Operation(
            code[:1], "(bad)", "", (code[0] if code else 0, 0), 0, 4, bits, valid=False
        )
    return _operation(found, bits)


@lru_cache(maxsize=3)
def _engine(bits: int) -> "capstone.Cs":
    import capstone

    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
    engine.detail = True
    return engine


def _operation(found: Any, bits: int) -> Operation:
    from capstone import x86

    size = _operand_size(found, bits)
    registers = [found.reg_name(o.reg) for o in found.operands if o.type == x86.X86_OP_REG]
    return Operation(
        raw=bytes(found.bytes),
        mnemonic=found.mnemonic,
        operands=found.op_str,
        opcode=(found.opcode[0], found.opcode[1]),
        extension=found.modrm >> 3 & 7,
        operand_size=size,
        address_bits=8 * found.addr_size,
        memory=tuple(_operands(found, size, registers)),
        immediates=tuple(o.imm for o in found.operands if o.type == x86.X86_OP_IMM),
        register=registers[0] if registers else "",
        repeated=found.prefix[0] in (0xF2, 0xF3),
    )


def _operand_size(found: Any, bits: int) -> int:
    if bits == 64:
        return 8 if found.rex & 8 else 2 if found.prefix[2] == 0x66 else 4
    return 2 if (found.prefix[2] == 0x66) != (bits == 16) else 4


def _operands(found: Any, size: int, registers: list[str]) -> Iterator[MemoryOperand]:
    """List the memory operands in the order in which the processor touches them."""
    from capstone import x86

    name = found.mnemonic.split()[-1]
    if name.startswith(_UNTOUCHED):
        return
    operands = [
        _operand(found, name, operand, size, position, registers)
        for position, operand in enumerate(found.operands)
        if operand.type == x86.X86_OP_MEM
    ]
    yield from sorted(operands, key=lambda operand: operand.write)
    yield from _implicit(found, name)


def _implicit(found: Any, name: str) -> Iterator[MemoryOperand]:
    bits = 8 * found.addr_size
    letter = {16: "", 32: "e", 64: "r"}[bits]
    override = found.prefix[1]
    segment = _OVERRIDES.get(override, "ds")
    if name == "xlatb":
        yield MemoryOperand(segment, f"{letter}bx", "al", 1, 0, bits, 1, 1, False)
    elif name in ("maskmovq", "maskmovdqu"):
        size = 8 if name == "maskmovq" else 16
        yield MemoryOperand(segment, f"{letter}di", "", 1, 0, bits, size, 1, True)


_OVERRIDES = {0x26: "es", 0x2E: "cs", 0x36: "ss", 0x3E: "ds", 0x64: "fs", 0x65: "gs"}


def _operand(
    found: Any, name: str, operand: Any, size: int, position: int, registers: list[str]
) -> MemoryOperand:
    place = operand.mem
    base = found.reg_name(place.base) if place.base else ""
    default = "ss" if base in ("bp", "ebp", "rbp", "esp", "sp", "rsp") else "ds"
    width = _width(found, name, operand.size, size)
    moved = name in ("bt", "bts", "btr", "btc") and bool(registers)
    return MemoryOperand(
        segment=found.reg_name(place.segment) if place.segment else default,
        base=base,
        index=found.reg_name(place.index) if place.index else "",
        scale=place.scale,
        displacement=place.disp,
        bits=8 * found.addr_size,
        size=width,
        alignment=_alignment(name, width, size),
        write=_writes(found, name, position),
        bit_index=registers[0] if moved else "",
    )


def _width(found: Any, name: str, said: int, size: int) -> int:
    """Give an operand's size in bytes; capstone does not know that of a state or a far pointer."""
    if name in _SIZES:
        return _SIZES[name]
    if name in _STATE_SIZES:
        return _STATE_SIZES[name][size != 2]
    far_branch = found.opcode[0] == 0xFF and found.modrm >> 3 & 7 in (3, 5)
    if name in _FAR_LOADS or far_branch:
        return size + 2
    return 2 * size if name == "bound" else int(said)


def _alignment(name: str, width: int, size: int) -> int:
    """Give the alignment that #AC asks for (SDM Vol. 3A, table 6-7)."""
    if name in _FAR_LOADS or name == "bound":
        return size
    if name.startswith(("movup", "movdqu", "lddqu")):
        return 1
    return _ALIGNED_LESS.get(width, width)


def _writes(found: Any, name: str, position: int) -> bool:
    if found.opcode[0] in _STRING_OPCODES:
        return position == 0 and name.startswith(("movs", "stos", "ins"))
    if found.opcode[0] in _ESCAPES or name.startswith(("fx", "f")):
        return name.startswith(_FPU_STORES)
    return position == 0 and name not in _ONLY_READ
