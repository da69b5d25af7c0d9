"""The processor's state: registers, and the hidden parts of its segment registers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from klosdbg.x86.bits import bit, bits
from klosdbg.x86.descriptor import Descriptor, Segment, SystemSegment, decode_descriptor

Mode = Literal["real", "unreal", "v86", "protected", "compatibility", "long"]
Paging = Literal["off", "32-bit", "PAE", "4-level", "5-level"]

GPR32 = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")


@dataclass(frozen=True, slots=True)
class SegmentRegister:
    """A segment register, LDTR or TR: the selector and the hidden part.

    ``base`` is linear; ``limit`` is in bytes, scaled, as the processor caches it; ``flags`` is the
    descriptor's high doubleword, of which only the attribute bits mean anything.
    """

    name: str
    selector: int
    base: int
    limit: int
    flags: int

    @property
    def type(self) -> int:
        """The descriptor type, four bits."""
        return bits(self.flags, 11, 8)

    @property
    def s(self) -> bool:
        """Tell a code or data segment from a system segment."""
        return bit(self.flags, 12)

    @property
    def dpl(self) -> int:
        """The descriptor privilege level."""
        return bits(self.flags, 14, 13)

    @property
    def present(self) -> bool:
        """Tell whether the register is usable; a null selector clears it, base and limit stay."""
        return bit(self.flags, 15)

    @property
    def avl(self) -> bool:
        """The bit for the system's own use."""
        return bit(self.flags, 20)

    @property
    def l(self) -> bool:  # noqa: E743
        """Tell a 64-bit code segment."""
        return bit(self.flags, 21)

    @property
    def db(self) -> bool:
        """Tell 32-bit from 16-bit defaults."""
        return bit(self.flags, 22)

    @property
    def g(self) -> bool:
        """Tell page from byte granularity of the descriptor that was loaded."""
        return bit(self.flags, 23)

    @property
    def descriptor(self) -> Descriptor:
        """The hidden part written as the 8-byte descriptor that would load it."""
        limit = self.limit >> 12 if self.g else self.limit
        low = (self.base & 0xFFFF) << 16 | limit & 0xFFFF
        high = self.flags & 0x00F0FF00 | limit & 0xF0000
        high |= bits(self.base, 23, 16) | bits(self.base, 31, 24) << 24
        return decode_descriptor((high << 32 | low).to_bytes(8, "little"))

    def differences(self, memory: Descriptor) -> tuple[str, ...]:
        """Name the fields in which the hidden part and a descriptor in memory disagree."""
        if not isinstance(memory, Segment | SystemSegment):
            return ("kind",)
        pairs = {
            "base": (self.base, memory.base),
            "limit": (self.limit, memory.last_byte),
            "type": (self._comparable(self.type), self._comparable(memory.type)),
            "s": (self.s, isinstance(memory, Segment)),
            "dpl": (self.dpl, memory.dpl),
            "present": (self.present, memory.present),
            "db": (self.db, memory.db),
            "g": (self.g, memory.g),
            "l": (self.l, memory.l),
            "avl": (self.avl, memory.avl),
        }
        return tuple(name for name, (hidden, stored) in pairs.items() if hidden != stored)

    def _comparable(self, kind: int) -> int:
        # LTR marks the TSS in memory busy; an emulator may leave the cached type available.
        return kind | 2 if self.name == "tr" else kind


@dataclass(frozen=True, slots=True)
class TableRegister:
    """GDTR or IDTR: linear base, and the limit (the last valid byte)."""

    base: int
    limit: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """Every register of one processor. ``segments`` has es cs ss ds fs gs ldtr tr.

    ``untold`` names the registers that the target did not tell, of a segment register its hidden
    part: what stands there is a guess.
    """

    gpr: Mapping[str, int]
    eip: int
    eflags: int
    cpl: int
    segments: Mapping[str, SegmentRegister]
    gdtr: TableRegister
    idtr: TableRegister
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    efer: int = 0
    dr: Mapping[int, int] = field(default_factory=dict)
    a20: bool = True
    smm: bool = False
    hlt: bool = False
    untold: frozenset[str] = frozenset()

    @property
    def mode(self) -> Mode:
        """The operating mode; ``unreal`` is real mode with a segment that reaches past 64 KiB."""
        if not bit(self.cr0, 0):
            big = any(self.segments[n].limit > 0xFFFF for n in SEGMENTS if n in self.segments)
            return "unreal" if big else "real"
        if bit(self.eflags, 17):
            return "v86"
        if bit(self.efer, 10):
            return "long" if self.segments["cs"].l else "compatibility"
        return "protected"

    @property
    def real_addressing(self) -> bool:
        """Tell whether a selector is a paragraph number: real, unreal and virtual 8086 mode."""
        return self.mode in ("real", "unreal", "v86")

    @property
    def halted_for_good(self) -> bool:
        """Tell whether it is halted with interrupts off: only an NMI, SMI, INIT or reset ends that.

        SDM Vol. 2A, "HLT".
        """
        return self.hlt and not bit(self.eflags, 9)

    @property
    def long_mode(self) -> bool:
        """Tell whether the tables have their IA-32e forms (EFER.LMA)."""
        return self.mode in ("long", "compatibility")

    @property
    def paging(self) -> Paging:
        """The paging mode, from CR0.PG, CR4.PAE, EFER.LMA and CR4.LA57."""
        if not bit(self.cr0, 31):
            return "off"
        if not bit(self.cr4, 5):
            return "32-bit"
        if not bit(self.efer, 10):
            return "PAE"
        return "5-level" if bit(self.cr4, 12) else "4-level"

    @property
    def code_bits(self) -> int:
        """The size of code at CS:EIP: 16, 32 or 64."""
        if self.mode == "long":
            return 64
        return 32 if self.segments["cs"].db and self.mode != "v86" else 16

    @property
    def linear_pc(self) -> int:
        """The linear address of the next instruction: CS base + EIP, which long mode takes flat."""
        if self.mode == "long":
            return self.eip
        return (self.segments["cs"].base + self.eip) & 0xFFFF_FFFF

    @property
    def stack_pointer(self) -> int:
        """RSP where registers have 64 bits, else ESP."""
        return self.gpr["rsp"] if "rsp" in self.gpr else self.gpr["esp"]

    @property
    def iopl(self) -> int:
        """The I/O privilege level, EFLAGS bits 13:12."""
        return bits(self.eflags, 13, 12)
