"""Registers of flags: EFLAGS, CR0, CR4, EFER, DR6 and DR7, bit by bit (SDM Vol. 3A, 2.3, 2.5)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from klosdbg.x86.bits import bits


@dataclass(frozen=True, slots=True)
class Field:
    """A named bit, or the bits ``high`` to ``low``; ``meaning`` says what it does when it is 1."""

    name: str
    high: int
    low: int
    meaning: str


@dataclass(frozen=True, slots=True)
class FlagLayout:
    """A register's fields; ``ones`` are reserved bits that always read as 1."""

    fields: tuple[Field, ...]
    ones: int = 0
    digits: int = 8


@dataclass(frozen=True, slots=True)
class Flags:
    """A register of flags; ``register`` is its name and ``raw`` all of its bits."""

    register: str
    raw: int

    @property
    def layout(self) -> FlagLayout:
        """The register's named fields."""
        return LAYOUTS[self.register]

    @property
    def fields(self) -> Mapping[str, int]:
        """The value of each named field, in ascending order of bits."""
        return {f.name: bits(self.raw, f.high, f.low) for f in self.layout.fields}

    @property
    def set_fields(self) -> tuple[Field, ...]:
        """The fields that are not zero."""
        return tuple(f for f in self.layout.fields if bits(self.raw, f.high, f.low))

    @property
    def reserved(self) -> int:
        """The bits without a name that do not hold the value the manual reserves for them."""
        return (self.raw ^ self.layout.ones) & ~self._named

    @property
    def _named(self) -> int:
        return sum(((1 << (f.high - f.low + 1)) - 1) << f.low for f in self.layout.fields)


def decode_flags(register: str, raw: int) -> Flags:
    """Decode a register of flags: eflags, cr0, cr4, efer, dr6 or dr7. Total in ``raw``."""
    return Flags(register, raw)


def decode_eflags(raw: int) -> Flags:
    """Decode EFLAGS or RFLAGS."""
    return Flags("eflags", raw)


def _field(line: str) -> Field:
    place, name, meaning = line.split(maxsplit=2)
    high, _, low = place.partition(":")
    return Field(name, int(high), int(low or high), meaning)


def _layout(text: str, ones: int = 0, digits: int = 8) -> FlagLayout:
    return FlagLayout(tuple(map(_field, text.strip().splitlines())), ones, digits)


def _breakpoint_fields() -> Iterator[str]:
    for n in range(4):
        yield f"{2 * n} l{n} breakpoint {n} is on until the next task switch"
        yield f"{2 * n + 1} g{n} breakpoint {n} is on in every task"


def _condition_fields() -> Iterator[str]:
    for n in range(4):
        at = 16 + 4 * n
        yield f"{at + 1}:{at} rw{n} breakpoint {n}: 0 execute, 1 write, 2 I/O, 3 read or write"
        yield f"{at + 3}:{at + 2} len{n} breakpoint {n}: 0 one byte, 1 two, 3 four, 2 eight"


_EFLAGS = """
0 cf carry
2 pf parity of the low byte is even
4 af carry out of bit 3
6 zf result was zero
7 sf result was negative
8 tf single step: #DB after each instruction
9 if maskable interrupts are taken
10 df string instructions count down
11 of signed overflow
13:12 iopl highest CPL that may do I/O without the bitmap
14 nt nested task: iret switches back
16 rf no instruction breakpoint on the next instruction
17 vm virtual 8086 mode
18 ac alignment checks at CPL 3, or SMAP override
19 vif virtual interrupt flag
20 vip virtual interrupt pending
21 id cpuid exists
"""
_CR0 = """
0 pe protected mode
1 mp wait and fwait obey ts
2 em no x87: #NM on its instructions
3 ts task switched: #NM on the next x87 or SSE instruction
4 et 387 instructions
5 ne x87 errors raise #MF
16 wp read-only pages bind the supervisor too
18 am eflags.ac takes effect
29 nw not write-through
30 cd caches off
31 pg paging
"""
_CR4 = """
0 vme virtual 8086 mode extensions
1 pvi protected-mode virtual interrupts
2 tsd rdtsc only at CPL 0
3 de I/O breakpoints; dr4 and dr5 raise #UD
4 pse 4 MiB pages in 32-bit paging
5 pae 64-bit page-table entries
6 mce machine checks raise #MC
7 pge global pages
8 pce rdpmc at every CPL
9 osfxsr SSE and fxsave are on
10 osxmmexcpt SSE errors raise #XM
11 umip sgdt, sidt, sldt, smsw and str only at CPL 0
12 la57 5-level paging
13 vmxe VMX
14 smxe SMX
16 fsgsbase rdfsbase and its like
17 pcide process-context identifiers
18 osxsave xsave and xgetbv
19 kl key locker
20 smep no fetch from user pages at CPL 0
21 smap no access to user pages at CPL 0
22 pke protection keys for user pages
23 cet control-flow enforcement
24 pks protection keys for supervisor pages
25 uintr user interrupts
27 lass linear-address space separation
28 lam_sup linear-address masking for supervisor pointers
32 fred flexible return and event delivery
"""
_EFER = """
0 sce syscall and sysret
8 lme long mode once paging is on
10 lma long mode is active
11 nxe no-execute pages
12 svme SVM (AMD)
13 lmsle segment limits in long mode (AMD)
14 ffxsr fast fxsave (AMD)
15 tce translation cache extension (AMD)
17 mcommit mcommit instruction (AMD)
18 intwb interruptible wbinvd (AMD)
20 uaie upper address bits ignored (AMD)
21 aibrse automatic IBRS (AMD)
"""
_DR6 = """
0 b0 breakpoint 0 was met
1 b1 breakpoint 1 was met
2 b2 breakpoint 2 was met
3 b3 breakpoint 3 was met
11 bld no bus lock (0: a bus lock was detected)
13 bd a debug register was touched while dr7.gd was on
14 bs single step
15 bt task switch into a TSS with t=1
16 rtm not in a transaction (0: in one)
"""
_DR7 = "\n".join(
    (
        *_breakpoint_fields(),
        "8 le exact data breakpoints until the next task switch",
        "9 ge exact data breakpoints in every task",
        "11 rtm debugging inside transactions",
        "13 gd #DB on touching a debug register",
        *_condition_fields(),
    )
)
LAYOUTS: Mapping[str, FlagLayout] = {
    "eflags": _layout(_EFLAGS, ones=0x2),
    "cr0": _layout(_CR0),
    "cr4": _layout(_CR4),
    "efer": _layout(_EFER),
    "dr6": _layout(_DR6, ones=0xFFFE_07F0),
    "dr7": _layout(_DR7, ones=0x400),
}
"""The registers that decode, by name."""
