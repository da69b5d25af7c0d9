"""Task-state segments of 16, 32 and 64 bits, from bytes to fields (SDM Vol. 3A, 8.2, 8.7)."""

from collections.abc import Mapping
from dataclasses import dataclass

from klosdbg.x86.bits import bit, ranges
from klosdbg.x86.iobitmap import WITH_TERMINATOR, IoBitmap

_LAYOUT16 = {
    "back_link": (0, 2), "sp0": (2, 2), "ss0": (4, 2), "sp1": (6, 2), "ss1": (8, 2),
    "sp2": (10, 2), "ss2": (12, 2), "ip": (14, 2), "flags": (16, 2), "ax": (18, 2),
    "cx": (20, 2), "dx": (22, 2), "bx": (24, 2), "sp": (26, 2), "bp": (28, 2), "si": (30, 2),
    "di": (32, 2), "es": (34, 2), "cs": (36, 2), "ss": (38, 2), "ds": (40, 2), "ldt": (42, 2),
}  # fmt: skip
_LAYOUT32 = {
    "back_link": (0, 2), "esp0": (4, 4), "ss0": (8, 2), "esp1": (12, 4), "ss1": (16, 2),
    "esp2": (20, 4), "ss2": (24, 2), "cr3": (28, 4), "eip": (32, 4), "eflags": (36, 4),
    "eax": (40, 4), "ecx": (44, 4), "edx": (48, 4), "ebx": (52, 4), "esp": (56, 4),
    "ebp": (60, 4), "esi": (64, 4), "edi": (68, 4), "es": (72, 2), "cs": (76, 2), "ss": (80, 2),
    "ds": (84, 2), "fs": (88, 2), "gs": (92, 2), "ldt": (96, 2), "t": (100, 2),
    "iomap_base": (102, 2),
}  # fmt: skip
_LAYOUT64 = {
    "rsp0": (4, 8), "rsp1": (12, 8), "rsp2": (20, 8), "ist1": (36, 8), "ist2": (44, 8),
    "ist3": (52, 8), "ist4": (60, 8), "ist5": (68, 8), "ist6": (76, 8), "ist7": (84, 8),
    "iomap_base": (102, 2),
}  # fmt: skip
_LAYOUTS = {16: _LAYOUT16, 32: _LAYOUT32, 64: _LAYOUT64}
MINIMUM_LIMIT = {16: 0x2B, 32: 0x67, 64: 0x67}
"""The limit under which a task switch or a stack switch raises #TS."""

_REDIRECTION_BYTES = 32


@dataclass(frozen=True, slots=True)
class Tss:
    """A TSS of 16, 32 or 64 bits: ``base`` linear, ``limit`` the last valid byte.

    ``fields`` holds the manual's fields in its order, None where the limit or memory ends before.
    ``redirection`` is the map of virtual-8086 interrupts that go to the real-mode IVT (bit 0) or to
    the protected-mode handler (bit 1): the 32 bytes under a 32-bit TSS's ``iomap_base``, used when
    CR4.VME is set.
    """

    raw: bytes
    bits: int
    base: int
    limit: int
    fields: Mapping[str, int | None]
    io: IoBitmap
    redirection: bytes | None

    @property
    def redirected(self) -> tuple[tuple[int, int], ...]:
        """The vectors that virtual 8086 mode takes through the IVT, as ``(first, last)`` ranges."""
        if self.redirection is None:
            return ()
        return ranges(v for v in range(256) if not bit(self.redirection[v // 8], v % 8))


def decode_tss(
    raw: bytes,
    bits: int,
    limit: int,
    base: int = 0,
    missing: tuple[tuple[int, int], ...] = (),
) -> Tss:
    """Decode a TSS of 16, 32 or 64 bits from its bytes. Total: fields past its end are None.

    ``missing`` lists offset ranges, both ends included, that stand as zero for want of a page.
    """
    end = min(len(raw), limit + 1)

    def value(offset: int, size: int) -> int | None:
        unmapped = any(first < offset + size and offset <= last for first, last in missing)
        if offset + size > end or unmapped:
            return None
        return int.from_bytes(raw[offset : offset + size], "little")

    fields = {name: value(*place) for name, place in _LAYOUTS[bits].items()}
    if fields.get("t") is not None:
        fields["t"] = int(fields["t"] or 0) & 1
    iomap_base = fields.get("iomap_base")
    io = _bitmap(raw[:end], iomap_base, limit, missing)
    redirection = _redirection(raw[:end], iomap_base) if bits == 32 else None
    return Tss(raw[:end], bits, base, limit, fields, io, redirection)


def _bitmap(
    raw: bytes, iomap_base: int | None, limit: int, missing: tuple[tuple[int, int], ...]
) -> IoBitmap:
    if iomap_base is None:
        return IoBitmap(b"", 0, limit, present=False)
    shifted = tuple(
        (max(first - iomap_base, 0), last - iomap_base)
        for first, last in missing
        if last >= iomap_base
    )
    return IoBitmap(raw[iomap_base : iomap_base + WITH_TERMINATOR], iomap_base, limit, shifted)


def _redirection(raw: bytes, iomap_base: int | None) -> bytes | None:
    if iomap_base is None or iomap_base < MINIMUM_LIMIT[32] + 1 + _REDIRECTION_BYTES:
        return None
    found = raw[iomap_base - _REDIRECTION_BYTES : iomap_base]
    return found if len(found) == _REDIRECTION_BYTES else None
