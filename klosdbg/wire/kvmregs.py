"""The register dump of qemu-kvm before 0.13, rewritten as the ``info registers`` text of QEMU.

cs 0008 (00000000/ffffffff p 1 dpl 0 db 0 s 1 type b l 1 g 1 avl 0)
gdt a25000/1f
cr0 80010011 cr2 0 cr3 eae000 cr4 7b8 cr8 0 efer d00
"""

import re
from collections.abc import Iterator

_SEGMENT = re.compile(
    r"^(es|cs|ss|ds|fs|gs|tr|ldt) ([0-9a-f]{4}) \(([0-9a-f]+)/([0-9a-f]+) p ([01]) dpl ([0-3])"
    r" db ([01]) s ([01]) type ([0-9a-f]) l ([01]) g ([01]) avl ([01])\)"
)
_TABLE = re.compile(r"^([gi]dt) ([0-9a-f]+)/([0-9a-f]+)")
_VALUES = re.compile(r"\b(r[a-ds][xip]|r8|r9|r1[0-5]|rip|rflags|cr\d|efer) +([0-9a-f]+)")


def rewrite_kvm_dump(line: str) -> Iterator[str]:
    """Rewrite a line of such a dump; a line of any other kind comes back as it is."""
    segment, table = _SEGMENT.match(line), _TABLE.match(line)
    values = _VALUES.findall(line)
    if segment:
        yield _segment_row(segment)
    elif table:
        yield f"{table[1].upper()}= {int(table[2], 16):016x} {int(table[3], 16):08x}"
    elif values and line.startswith(("r", "cr")):
        yield from (f"{_name(name)}={value}" for name, value in values)
    else:
        yield line


def _name(name: str) -> str:
    return "RFL" if name == "rflags" else name.upper()


def _segment_row(match: re.Match[str]) -> str:
    p, dpl, db, s = (int(match[i]) for i in range(5, 9))
    long, g, avl = (int(match[i]) for i in range(10, 13))
    flags = int(match[9], 16) << 8 | s << 12 | dpl << 13 | p << 15
    flags |= avl << 20 | long << 21 | db << 22 | g << 23
    name = f"{match[1].upper():3}"
    return f"{name}={match[2]} {int(match[3], 16):016x} {int(match[4], 16):08x} {flags:08x}"
