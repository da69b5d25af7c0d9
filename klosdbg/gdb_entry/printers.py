"""Pretty printers: gdb's ``print`` shows a descriptor, a gate or a TSS as klosdbg's views do.

Types are known by name, and by their size and fields, for these names mean other things elsewhere.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gdb
import gdb.printing

from klosdbg.errors import KlosdbgError
from klosdbg.gdb_entry.gdb_session import HELD
from klosdbg.read import read_selector
from klosdbg.views import Style
from klosdbg.views.descriptors import in_one_line
from klosdbg.views.tss import tss_in_one_line
from klosdbg.x86.descriptor import Descriptor, Gate, decode_descriptor, decode_gate
from klosdbg.x86.tss import decode_tss

_TSS_BITS = {0x2C: 16, 0x68: 32}


@dataclass(frozen=True, slots=True)
class _Kind:
    """``types``: the names of KLOS, Linux, xv6, JOS and tutorials; ``fields`` must occur."""

    name: str
    types: str
    fields: tuple[str, str]
    sizes: tuple[int, ...]
    show: Callable[[bytes], str]


def _kinds() -> tuple[_Kind, ...]:
    return (
        _Kind(
            "descriptor",
            "descriptor|desc_struct|ldttss_desc|[Ss]egdesc|gdt_entry(_t|_struct)?",
            ("base", "lim"),
            (8, 16),
            _descriptor,
        ),
        _Kind(
            "gate",
            "gate|gate_struct|[Gg]atedesc|idt_entry(_t|_struct)?",
            ("off|base", "sel|seg|cs"),
            (8, 16),
            _gate,
        ),
        _Kind(
            "tss",
            "tss|x86_hw_tss|[Tt]askstate|tss_entry(_t|_struct)?",
            ("e?sp0", "ss0"),
            tuple(_TSS_BITS),
            _tss,
        ),
    )


def register() -> None:
    """Register the printers: ``info pretty-printer`` lists them under ``klosdbg``."""
    printers = gdb.printing.RegexpCollectionPrettyPrinter("klosdbg")
    for kind in _kinds():
        printers.add_printer(kind.name, f"^({kind.types})$", lambda v, k=kind: _Shown.of(v, k))
    gdb.printing.register_pretty_printer(None, printers, replace=True)


class _Shown:
    """One value as one line. ``print/r`` shows the fields."""

    def __init__(self, value: gdb.Value, kind: _Kind) -> None:
        self._value, self._kind = value, kind

    @classmethod
    def of(cls, value: gdb.Value, kind: _Kind) -> "_Shown | None":
        """Make a printer; None where only the name is that of the kind."""
        kind_of_type = value.type.strip_typedefs()
        if kind_of_type.code != gdb.TYPE_CODE_STRUCT or kind_of_type.sizeof not in kind.sizes:
            return None
        names = list(_names(kind_of_type))
        known = all(any(re.match(f, name) for name in names) for f in kind.fields)
        return cls(value, kind) if known else None

    def to_string(self) -> str:
        """Decode the value's bytes."""
        size = self._value.type.strip_typedefs().sizeof
        return self._kind.show(_number(self._value).to_bytes(size, "little"))


def _names(structure: gdb.Type) -> Iterator[str]:
    for field in structure.fields():
        yield field.name or ""
        inner = field.type.strip_typedefs()
        if inner.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            yield from _names(inner)


def _number(value: gdb.Value) -> int:
    """Put a value's bytes together from its fields: a value of gdb's history has no address."""
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        parts = [(f.bitpos, f.bitsize, value[f]) for f in kind.fields()]
    elif kind.code == gdb.TYPE_CODE_ARRAY:
        first, last = kind.range()
        width = 8 * kind.target().sizeof
        parts = [((i - first) * width, 0, value[i]) for i in range(first, last + 1)]
    else:
        size: int = kind.sizeof
        return int(value) & (1 << 8 * size) - 1
    number = 0
    for at, width, part in parts:
        mask = (1 << (width or 8 * part.type.sizeof)) - 1
        number |= (_number(part) & mask) << at
    return number


def _descriptor(raw: bytes) -> str:
    return _line(decode_descriptor(raw, len(raw) == 16))


def _gate(raw: bytes) -> str:
    return _line(decode_gate(raw, len(raw) == 16))


def _line(descriptor: Descriptor) -> str:
    session = HELD.as_last_seen()
    base = _base(descriptor.target_selector) if isinstance(descriptor, Gate) else 0
    return in_one_line(descriptor, Style(session.symbol), base)


def _base(selector: int) -> int:
    """Give the base that a gate's offset counts from, 0 where no guest says."""
    try:
        found = read_selector(HELD.as_last_seen().target, selector).descriptor
    except KlosdbgError:
        return 0
    return int(getattr(found, "base", 0))


def _tss(raw: bytes) -> str:
    return tss_in_one_line(decode_tss(raw, _TSS_BITS[len(raw)], len(raw) - 1))
