"""Segment descriptors, system descriptors and gates (SDM volume 3, "Segment Descriptors").

    63      56 55 54 53 52 51    48 47 46 45 44 43  40 39      32
   +----------+--+--+--+--+--------+--+-----+--+------+----------+
   |base 31:24|G |DB|L |AV|limit   |P | DPL |S | type |base 23:16|
   +----------+--+--+--+--+--------+--+-----+--+------+----------+
   |     base 15:0 (31:16)         |     limit 15:0 (15:0)       |
   +-------------------------------+-----------------------------+

A gate holds an offset in place of base and limit:

    63                         48 47 46 45 44 43  40 39  37 36   32
   +----------------------------+--+-----+--+------+------+------+
   |       offset 31:16         |P | DPL |0 | type | 000  |params|
   +----------------------------+--+-----+--+------+------+------+
   |     target selector        |       offset 15:0              |
   +----------------------------+--------------------------------+

In IA-32e mode a system descriptor or gate has 16 bytes: base or offset 63:32 follow.
"""

from dataclasses import dataclass
from functools import lru_cache

from klosdbg.x86.bits import bit, bits

_SYSTEM_KINDS = {
    0x1: ("tss16", 16),
    0x2: ("ldt", 0),
    0x3: ("tss16", 16),
    0x4: ("call-gate", 16),
    0x5: ("task-gate", 0),
    0x6: ("interrupt-gate", 16),
    0x7: ("trap-gate", 16),
    0x9: ("tss32", 32),
    0xB: ("tss32", 32),
    0xC: ("call-gate", 32),
    0xE: ("interrupt-gate", 32),
    0xF: ("trap-gate", 32),
}
_LONG_KINDS = {
    0x2: ("ldt", 0),
    0x9: ("tss64", 64),
    0xB: ("tss64", 64),
    0xC: ("call-gate", 64),
    0xE: ("interrupt-gate", 64),
    0xF: ("trap-gate", 64),
}
_BUSY = 0x2


@dataclass(frozen=True, slots=True)
class Segment:
    """A code or data segment (S=1). ``limit`` is the stored 20-bit field; ``base`` is linear."""

    raw: bytes
    base: int
    limit: int
    type: int
    dpl: int
    present: bool
    avl: bool
    l: bool  # noqa: E741  (the manual's name)
    db: bool
    g: bool

    @property
    def kind(self) -> str:
        """``code`` or ``data``."""
        return "code" if self.executable else "data"

    @property
    def executable(self) -> bool:
        """Tell code from data (type bit 3)."""
        return bit(self.type, 3)

    @property
    def readable(self) -> bool:
        """Tell whether data reads through it pass: always for data, type bit 1 for code."""
        return not self.executable or bit(self.type, 1)

    @property
    def writable(self) -> bool:
        """Tell whether writes pass: never for code, type bit 1 for data."""
        return not self.executable and bit(self.type, 1)

    @property
    def conforming(self) -> bool:
        """Tell whether code runs at its caller's privilege level (type bit 2)."""
        return self.executable and bit(self.type, 2)

    @property
    def expand_down(self) -> bool:
        """Tell whether a data segment's valid offsets lie above its limit (type bit 2)."""
        return not self.executable and bit(self.type, 2)

    @property
    def accessed(self) -> bool:
        """Tell whether the processor has loaded it (type bit 0)."""
        return bit(self.type, 0)

    @property
    def last_byte(self) -> int:
        """The limit in bytes, scaled by G: the last valid offset of an expand-up segment."""
        return (self.limit << 12) | 0xFFF if self.g else self.limit

    @property
    def valid_offsets(self) -> tuple[int, int] | None:
        """The first and the last valid offset, or None where no offset is valid."""
        if not self.expand_down:
            return 0, self.last_byte
        top = 0xFFFF_FFFF if self.db else 0xFFFF
        return (self.last_byte + 1, top) if self.last_byte < top else None


@dataclass(frozen=True, slots=True)
class SystemSegment:
    """An LDT or TSS descriptor (S=0); ``reserved`` is bits 127:96 of a 16-byte one.

    ``bits`` is 16, 32 or 64 for a TSS and 0 for an LDT.
    """

    raw: bytes
    kind: str
    bits: int
    base: int
    limit: int
    type: int
    dpl: int
    present: bool
    avl: bool
    l: bool  # noqa: E741  (bit 53, reserved)
    db: bool
    g: bool
    reserved: int

    @property
    def last_byte(self) -> int:
        """The limit in bytes, scaled by G."""
        return (self.limit << 12) | 0xFFF if self.g else self.limit

    @property
    def busy(self) -> bool:
        """Tell whether a TSS is busy (type bit 1); an LDT never is."""
        return self.kind != "ldt" and bool(self.type & _BUSY)


@dataclass(frozen=True, slots=True)
class Gate:
    """A call, task, interrupt or trap gate.

    ``low5`` is bits 36:32 (parameter count, or interrupt stack table), ``high3`` bits 39:37 and
    ``reserved`` bits 127:96 of a 16-byte one. A 16-bit gate uses 16 bits of offset: bits 63:48 are
    then ``unused``. A task gate has no use for its offset.
    """

    raw: bytes
    kind: str
    bits: int
    offset: int
    target_selector: int
    low5: int
    high3: int
    type: int
    dpl: int
    present: bool
    reserved: int
    unused: int = 0

    @property
    def params(self) -> int:
        """The parameter count of a 16- or 32-bit call gate: words or doublewords; else 0."""
        return self.low5 if self.kind == "call-gate" and self.bits != 64 else 0

    @property
    def ist(self) -> int:
        """The interrupt stack table index of a 64-bit interrupt or trap gate; else 0."""
        return self.low5 & 7 if self.bits == 64 and self.kind != "call-gate" else 0


@dataclass(frozen=True, slots=True)
class Empty:
    """A slot whose bytes are all zero."""

    raw: bytes
    kind: str = "empty"
    type: int = 0
    dpl: int = 0
    present: bool = False


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the manual reserves: a system type without meaning in this mode, or S=1 in an IDT.

    ``low`` is bits 39:0, ``high`` bits 63:48, ``upper`` bits 127:64 of a 16-byte one.
    """

    raw: bytes
    type: int
    s: bool
    dpl: int
    present: bool
    low: int
    high: int
    upper: int
    kind: str = "reserved"


Descriptor = Segment | SystemSegment | Gate | Empty | Reserved


def descriptor_size(raw: bytes, long_mode: bool = False) -> int:
    """Tell how many bytes the GDT or LDT entry that begins with ``raw`` occupies: 8 or 16."""
    system = long_mode and len(raw) > 5 and not raw[5] & 0x10
    return 16 if system and raw[5] & 0xF in _LONG_KINDS else 8


@lru_cache(maxsize=65536)
def decode_descriptor(raw: bytes, long_mode: bool = False) -> Descriptor:
    """Decode a GDT or LDT entry of 8 bytes, or 16 for a system descriptor in long mode. Total."""
    low = int.from_bytes(raw[:8], "little")
    if not any(raw):
        return Empty(raw)
    if bit(low, 44):
        return _segment(raw[:8], low)
    return _system_or_gate(raw, low, long_mode)


@lru_cache(maxsize=4096)
def decode_gate(raw: bytes, long_mode: bool = False) -> Descriptor:
    """Decode an IDT entry of 8 bytes, 16 in long mode. Total: what is no gate decodes too."""
    low = int.from_bytes(raw[:8], "little")
    if not any(raw):
        return Empty(raw)
    return _system_or_gate(raw, low, long_mode)


def _system_or_gate(raw: bytes, low: int, long_mode: bool) -> Descriptor:
    kinds = _LONG_KINDS if long_mode else _SYSTEM_KINDS
    kind, width = kinds.get(bits(low, 43, 40), ("reserved", 0))
    if bit(low, 44):
        kind = "reserved"
    upper = int.from_bytes(raw[8:16], "little") if long_mode else 0
    if kind == "reserved":
        return _reserved(raw, low, upper)
    make = _gate if kind.endswith("gate") else _system
    return make(raw, low, kind, width, upper)


def _base(low: int) -> int:
    return bits(low, 39, 16) | bits(low, 63, 56) << 24


def _limit(low: int) -> int:
    return bits(low, 15, 0) | bits(low, 51, 48) << 16


def _segment(raw: bytes, low: int) -> Segment:
    return Segment(
        raw=raw,
        base=_base(low),
        limit=_limit(low),
        type=bits(low, 43, 40),
        dpl=bits(low, 46, 45),
        present=bit(low, 47),
        avl=bit(low, 52),
        l=bit(low, 53),
        db=bit(low, 54),
        g=bit(low, 55),
    )


def _system(raw: bytes, low: int, kind: str, width: int, upper: int) -> SystemSegment:
    return SystemSegment(
        raw=raw,
        kind=kind,
        bits=width,
        base=_base(low) | bits(upper, 31, 0) << 32,
        limit=_limit(low),
        type=bits(low, 43, 40),
        dpl=bits(low, 46, 45),
        present=bit(low, 47),
        avl=bit(low, 52),
        l=bit(low, 53),
        db=bit(low, 54),
        g=bit(low, 55),
        reserved=bits(upper, 63, 32),
    )


def _gate(raw: bytes, low: int, kind: str, width: int, upper: int) -> Gate:
    upper_offset = bits(low, 63, 48)
    return Gate(
        raw=raw,
        kind=kind,
        bits=width,
        offset=bits(low, 15, 0)
        | (upper_offset << 16 if width != 16 else 0)
        | bits(upper, 31, 0) << 32,
        target_selector=bits(low, 31, 16),
        low5=bits(low, 36, 32),
        high3=bits(low, 39, 37),
        type=bits(low, 43, 40),
        dpl=bits(low, 46, 45),
        present=bit(low, 47),
        reserved=bits(upper, 63, 32),
        unused=upper_offset if width == 16 else 0,
    )


def _reserved(raw: bytes, low: int, upper: int) -> Reserved:
    return Reserved(
        raw=raw,
        type=bits(low, 43, 40),
        s=bit(low, 44),
        dpl=bits(low, 46, 45),
        present=bit(low, 47),
        low=bits(low, 39, 0),
        high=bits(low, 63, 48),
        upper=upper,
    )
