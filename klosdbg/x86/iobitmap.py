"""The I/O permission bitmap (SDM volume 1, "I/O Permission Bit Map").

For a port the processor reads two bytes at ``iomap_base + port / 8``; both have to lie within the
TSS limit, and the bits of all ports that the access touches have to be 0.
"""

from dataclasses import dataclass

from klosdbg.x86.bits import bit, ranges
from klosdbg.x86.cpu import Cpu

PORTS = 0x10000
_BITMAP_BYTES = PORTS // 8
WITH_TERMINATOR = _BITMAP_BYTES + 1


@dataclass(frozen=True, slots=True)
class IoBitmap:
    """A bitmap: ``raw`` runs from ``iomap_base`` to the TSS limit, 0x2001 bytes at the most.

    ``missing`` lists offset ranges into ``raw``, both ends included, whose memory is not mapped;
    ``present`` is False where the TSS is of a kind that has none.
    """

    raw: bytes
    iomap_base: int
    limit: int
    missing: tuple[tuple[int, int], ...] = ()
    present: bool = True

    @property
    def allowed(self) -> tuple[tuple[int, int], ...]:
        """The ports that a one-byte access may touch, as ``(first, last)`` ranges."""
        return ranges(self._open_ports())

    def _open_ports(self) -> list[int]:
        last = min(len(self.raw) - 1, _BITMAP_BYTES)
        candidates = (at for at in range(max(last, 0)) if self.raw[at] != 0xFF)
        return [
            at * 8 + i
            for at in candidates
            for i in range(8)
            if not bit(self.raw[at], i) and self.refusal(at * 8 + i, 1) is None
        ]

    def refusal(self, port: int, size: int) -> str | None:
        """Say why the bitmap refuses ``size`` bytes at ``port``; None where it allows them."""
        if not self.present:
            return "no-bitmap"
        if self.iomap_base >= self.limit:
            return "past-limit"
        at = port // 8
        if self.iomap_base + at + 1 > self.limit:
            return "past-limit"
        if any(first <= at + 1 and at <= last for first, last in self.missing):
            return "page-fault"
        word = int.from_bytes(self.raw[at : at + 2], "little")
        denied = word >> port % 8 & ((1 << size) - 1)
        return "bit-set" if denied else None


@dataclass(frozen=True, slots=True)
class PortAccess:
    """Whether an access to ``size`` bytes at ``port`` passes now, and the rule that decides."""

    port: int
    size: int
    allowed: bool
    rule: str
    explanation: str


_REFUSALS = {
    "no-bitmap": "TR holds no 32- or 64-bit TSS, so there is no I/O bitmap: #GP(0)",
    "past-limit": "the bitmap's two bytes for it end past the TSS limit: #GP(0)",
    "page-fault": "the bitmap's page for it is not mapped: #PF",
    "bit-set": "a bit of the I/O bitmap is 1: #GP(0)",
}


def port_access(cpu: Cpu, bitmap: IoBitmap | None, port: int, size: int) -> PortAccess:
    """Decide an access as the processor would now: mode, CPL and IOPL first, then the bitmap."""
    if cpu.mode in ("real", "unreal"):
        return PortAccess(port, size, True, "real-mode", "real mode checks nothing")
    if cpu.mode != "v86" and cpu.cpl <= cpu.iopl:
        why = f"CPL {cpu.cpl} <= IOPL {cpu.iopl}, so the bitmap is not asked"
        return PortAccess(port, size, True, "iopl", why)
    refusal = bitmap.refusal(port, size) if bitmap else "no-bitmap"
    asked = "virtual 8086 mode" if cpu.mode == "v86" else f"CPL {cpu.cpl} > IOPL {cpu.iopl}"
    if refusal:
        return PortAccess(port, size, False, refusal, f"{asked}, and {_REFUSALS[refusal]}")
    return PortAccess(port, size, True, "bitmap", f"{asked}, and every bit for it is 0")
