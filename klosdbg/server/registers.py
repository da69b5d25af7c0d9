"""The registers that a client is told of: GDB's own, and what segmentation needs beside them.

The register ``system`` is a structure of the others: GDB shows no group of a target's own for x86.
``eip`` is the linear address (CS base + EIP), because clients compare it with the linear addresses
of breakpoints; ``eip_offset`` is what the processor's EIP holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from xml.sax.saxutils import quoteattr

from klosdbg.x86.cpu import Cpu

Values = Mapping[str, int]

_GPR32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_GPR64 = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
_SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
_FPU = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "efer")
_NOT_HIDDEN = ("cr", "dr", "efer", "cpl", "eip", "rip")
_ALL, _ALL_TYPE, _PARTS_TYPE = "system", "klosdbg_system", "klosdbg_system_parts"
_POINTERS = {"esp": "data_ptr", "ebp": "data_ptr", "rsp": "data_ptr", "rbp": "data_ptr"}
_VECTOR = (
    '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
    '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>'
    '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>'
    '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
    '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>'
    '<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>'
    '<field name="uint128" type="uint128"/></union>'
)


@dataclass(frozen=True, slots=True)
class Described:
    """A register as the target description names it; ``system`` ones are klosdbg's addition."""

    name: str
    bits: int
    type: str
    system: bool = False


@dataclass(frozen=True)
class RegisterLayout:
    """Every register in the order of ``g``; ``wide`` describes a 64-bit processor."""

    wide: bool

    @cached_property
    def registers(self) -> tuple[Described, ...]:
        """The registers by number."""
        return (*self._core(), *self._sse(), *self._system(), self._all())

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each register."""
        return {register.name: i for i, register in enumerate(self.registers)}

    @property
    def pc(self) -> str:
        """The name of the program counter."""
        return "rip" if self.wide else "eip"

    @property
    def address_mask(self) -> int:
        """The bits of a linear address."""
        return (1 << (64 if self.wide else 32)) - 1

    @cached_property
    def target_xml(self) -> bytes:
        """The target description."""
        architecture = "i386:x86-64" if self.wide else "i386"
        features = (
            _feature("org.gnu.gdb.i386.core", self._core()),
            _feature("org.gnu.gdb.i386.sse", self._sse(), _VECTOR),
            _feature("org.klosdbg.x86.system", self._system()),
            _feature("org.klosdbg.x86.all", [self._all()], _structure(self._hidden())),
        )
        return (
            '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target>\n'
            f"<architecture>{architecture}</architecture>\n{''.join(features)}</target>\n"
        ).encode()

    def encode(self, register: Described, values: Values) -> bytes:
        """Encode one register in hexadecimal; ``xx`` where it is not known."""
        if register.name == _ALL:
            return b"".join(self.encode(part, values) for part in self._hidden())
        value = values.get(register.name)
        size = register.bits // 8
        if value is None:
            return b"xx" * size
        return (value & (1 << register.bits) - 1).to_bytes(size, "little").hex().encode()

    def encode_all(self, values: Values) -> bytes:
        """Encode the reply to ``g``."""
        return b"".join(self.encode(register, values) for register in self.registers)

    def _core(self) -> list[Described]:
        width = 64 if self.wide else 32
        names = (*_GPR64, *(f"r{i}" for i in range(8, 16))) if self.wide else _GPR32
        general = [Described(n, width, _POINTERS.get(n, f"int{width}")) for n in names]
        return [
            *general,
            Described(self.pc, width, "code_ptr"),
            Described("eflags", 32, "int32"),
            *(Described(name, 32, "int32") for name in _SELECTORS),
            *(Described(f"st{i}", 80, "i387_ext") for i in range(8)),
            *(Described(name, 32, "int") for name in _FPU),
        ]

    def _sse(self) -> list[Described]:
        count = 16 if self.wide else 8
        vectors = [Described(f"xmm{i}", 128, "vec128") for i in range(count)]
        return [*vectors, Described("mxcsr", 32, "int")]

    def _system(self) -> list[Described]:
        width = 64 if self.wide else 32
        sizes = {f"{table}_{part}": w for table in ("gdtr", "idtr") for part, w in _parts(width)}
        for name in ("ldtr", "tr"):
            sizes |= {name: 16} | _segment(name, width)
        for name in _SELECTORS:
            sizes |= _segment(name, width)
        sizes |= dict.fromkeys((*_CONTROL, *(f"dr{i}" for i in (0, 1, 2, 3, 6, 7))), width)
        sizes |= {f"{self.pc}_offset": width, "cpl": 8}
        return [Described(name, w, _type(name, w), True) for name, w in sizes.items()]

    def _hidden(self) -> list[Described]:
        return [r for r in self._system() if not r.name.startswith(_NOT_HIDDEN)]

    def _all(self) -> Described:
        return Described(_ALL, sum(part.bits for part in self._hidden()), _ALL_TYPE, True)


def _type(name: str, bits: int) -> str:
    return "data_ptr" if name.endswith("_base") else f"uint{bits}"


def _parts(width: int) -> tuple[tuple[str, int], ...]:
    return ("base", width), ("limit", 32)


def _segment(name: str, width: int) -> dict[str, int]:
    return {f"{name}_base": width, f"{name}_limit": 32, f"{name}_attr": 16}


def _structure(parts: list[Described]) -> str:
    fields = "".join(f'<field name="{part.name}" type="{part.type}"/>' for part in parts)
    vector = f'<vector id="{_ALL_TYPE}" type="{_PARTS_TYPE}" count="1"/>'
    return f'<struct id="{_PARTS_TYPE}">{fields}</struct>{vector}'


def _feature(name: str, registers: list[Described], types: str = "") -> str:
    described = "".join(map(_describe, registers))
    return f"<feature name={quoteattr(name)}>{types}\n{described}</feature>\n"


def _describe(register: Described) -> str:
    group = ' group="system" save-restore="no"' if register.system else ""
    # radare2 looks for the next register two characters further on, so each has its line.
    return (
        f'<reg name="{register.name}" bitsize="{register.bits}" type="{register.type}"{group}/>\n'
    )


def cpu_values(
    cpu: Cpu, general: Values, layout: RegisterLayout, linear_pc: bool
) -> dict[str, int]:
    """Name the value of every register of the processor; ``general`` adds what ``Cpu`` lacks."""
    values = {**general, **cpu.gpr, "eflags": cpu.eflags, "cpl": cpu.cpl}
    values[layout.pc] = cpu.linear_pc if linear_pc else cpu.eip
    values[f"{layout.pc}_offset"] = cpu.eip
    values |= {name: getattr(cpu, name) for name in _CONTROL}
    values |= {f"dr{i}": value for i, value in cpu.dr.items()}
    values |= table_values(cpu)
    for name, segment in cpu.segments.items():
        values |= {name: segment.selector, f"{name}_base": segment.base}
        values |= {f"{name}_limit": segment.limit, f"{name}_attr": attributes(segment.flags)}
    return values


def table_values(cpu: Cpu) -> dict[str, int]:
    """Name the values of GDTR and IDTR."""
    gdtr, idtr = cpu.gdtr, cpu.idtr
    return {
        "gdtr_base": gdtr.base,
        "gdtr_limit": gdtr.limit,
        "idtr_base": idtr.base,
        "idtr_limit": idtr.limit,
    }


def attributes(flags: int) -> int:
    """Take a descriptor's attribute bits: type, S, DPL, P in 7:0; AVL, L, D/B, G in 15:12."""
    return flags >> 8 & 0xF0FF
