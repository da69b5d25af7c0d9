"""Registers as JSON, and back: ``registers.json`` of a capture. Values are ``0x`` strings."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from klosdbg.errors import DataError
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu, SegmentRegister, TableRegister

_SEGMENTS = (*SEGMENTS, "ldtr", "tr")
_GPR64 = tuple(name.replace("e", "r", 1) for name in GPR32)
_CONTROL = ("eip", "eflags", "cr0", "cr2", "cr3", "cr4", "efer")
_FLAGS = ("a20", "smm", "hlt")
_WIDEST = 64


def encode_cpu(cpu: Cpu) -> dict[str, Any]:
    """Give every register to JSON."""
    plain = {name: hex(getattr(cpu, name)) for name in _CONTROL}
    return {
        "gpr": _hex(cpu.gpr),
        **plain,
        "cpl": cpu.cpl,
        "segments": {name: _hex(asdict(s), "name") for name, s in cpu.segments.items()},
        "gdtr": _hex(asdict(cpu.gdtr)),
        "idtr": _hex(asdict(cpu.idtr)),
        "dr": {str(number): hex(value) for number, value in cpu.dr.items()},
        **{name: getattr(cpu, name) for name in _FLAGS},
        **({"untold": sorted(cpu.untold)} if cpu.untold else {}),
    }


def _hex(values: Mapping[str, int], *left_out: str) -> dict[str, str]:
    return {name: hex(value) for name, value in values.items() if name not in left_out}


def decode_cpu(plain: Mapping[str, Any], name: str) -> Cpu:
    """Read what ``encode_cpu`` wrote, or raise ``DataError`` that begins with ``name``."""
    try:
        return _cpu(plain)
    except DataError as error:
        raise DataError(f"{name} is damaged: {error}") from None
    except KeyError as error:
        raise DataError(f"{name} is damaged: {error.args[0]!s:.20} is missing") from None
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{name} is damaged: its registers are none") from None


def _cpu(plain: Mapping[str, Any]) -> Cpu:
    gpr = {str(name): _number(value) for name, value in plain["gpr"].items()}
    if not (set(GPR32) <= set(gpr) or set(_GPR64) <= set(gpr)):
        raise DataError("a general register is missing")
    control: dict[str, Any] = {name: _number(plain[name]) for name in _CONTROL}
    return Cpu(
        gpr=gpr,
        **control,
        cpl=_number(hex(plain["cpl"]), 2),
        segments={name: _segment(name, plain["segments"][name]) for name in _SEGMENTS},
        gdtr=_table(plain["gdtr"]),
        idtr=_table(plain["idtr"]),
        dr={int(number): _number(value) for number, value in plain["dr"].items()},
        a20=bool(plain["a20"]),
        smm=bool(plain["smm"]),
        hlt=bool(plain["hlt"]),
        untold=frozenset(str(name) for name in plain.get("untold", ())),
    )


def _segment(name: str, plain: Mapping[str, Any]) -> SegmentRegister:
    return SegmentRegister(
        name=name,
        selector=_number(plain["selector"], 16),
        base=_number(plain["base"]),
        limit=_number(plain["limit"], 32),
        flags=_number(plain["flags"], 32),
    )


def _table(plain: Mapping[str, Any]) -> TableRegister:
    return TableRegister(_number(plain["base"]), _number(plain["limit"], 32))


def _number(value: object, bits: int = _WIDEST) -> int:
    try:
        number = int(str(value), 16)
    except ValueError:
        raise DataError(f"{str(value)[:20]!r} is no register's value") from None
    if not 0 <= number < 1 << bits:
        raise DataError(f"{value!s:.20} has more than {bits} bits")
    return number
