"""What a processor would refuse, row by row as the manual says it (SDM Vol. 3A, chapter 5)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.x86.cpu import GPR32, Cpu
from klosdbg.x86.silicon import Violation, judge
from tests.processors import (
    CODE_X,
    CODE_XR,
    DOWN,
    DOWN_RO,
    FLAT,
    GDT_AT,
    MODES,
    RO,
    STACK_AT,
    cpu,
    segment,
)

GP, SS, AC, DB = 13, 12, 17, 1


def check(state: Cpu, code: str, held: dict[int, bytes] | None = None) -> Violation | None:
    """Judge an instruction; memory is zero but for what is held."""

    def read(address: int, size: int) -> bytes:
        raw = (held or {}).get(address, b"")
        return raw[:size].ljust(size, b"\0")

    return judge(state, bytes.fromhex(code), read).violation


def found(violation: Violation | None) -> tuple[object, ...] | None:
    """Take what a row expects out of a violation."""
    if violation is None:
        return None
    v = violation
    return (v.rule, v.vector, v.error_code, v.segment, v.offset, v.size, v.access)


ES = segment("es", 0xFFF)
LOW = segment("es", 0xFFF, DOWN)
NULL = segment("es", p=False)
CS16 = segment("cs", FLAT, CODE_XR, db=False)
X = segment("cs", FLAT, CODE_X)


def refused(rule: str, vector: int, place: str, offset: int, size: int, access: str) -> object:
    return rule, vector, 0, place, offset, size, access


def past(place: str, offset: int, size: int, access: str) -> object:
    return refused("limit", SS if place == "ss" else GP, place, offset, size, access)


DATA = {
    "the last byte": (cpu(ES, ebx=0xFFF), "268a03", None),
    "one byte past": (cpu(ES, ebx=0x1000), "268a03", past("es", 0x1000, 1, "read")),
    "a write past": (cpu(ES, ebx=0x1000), "26c6035a", past("es", 0x1000, 1, "write")),
    "the last dword": (cpu(ES, ebx=0xFFC), "268b03", None),
    "a dword that straddles": (cpu(ES, ebx=0xFFD), "268b03", past("es", 0xFFD, 4, "read")),
    "a wrap in a small segment": (
        cpu(ES, ebx=0xFFFF_FFFE),
        "268b03",
        past("es", 0xFFFF_FFFE, 4, "read"),
    ),
    "a wrap in a flat one, left to the processor": (cpu(ebx=0xFFFF_FFFE), "8b03", None),
    "base, index, scale, displacement": (
        cpu(segment("ds", 0x1FF), eax=0x100, ecx=0x3F),
        "8b448804",
        past("ds", 0x200, 4, "read"),
    ),
    "the same, just inside": (
        cpu(segment("ds", 0x203), eax=0x100, ecx=0x3F),
        "8b448804",
        None,
    ),
    "moffs": (cpu(ES), "26a000200000", past("es", 0x2000, 1, "read")),
    "ebp means SS": (
        cpu(segment("ss", 0xFFF), ebp=0x1000),
        "8b4500",
        past("ss", 0x1000, 4, "read"),
    ),
    "an index of ebp does not": (cpu(segment("ss", 0xFFF), eax=0, ebp=0x1000), "8b0428", None),
    "lea touches nothing": (cpu(ES, ebx=0x1000), "268d03", None),
    "a long nop neither": (cpu(ES, ebx=0x1000), "260f1f03", None),
    "a compare only reads": (cpu(segment("ds", kind=RO)), "3903", None),
    "an add writes": (
        cpu(segment("ds", kind=RO)),
        "0103",
        refused("read-only", GP, "ds", 0x100, 4, "write"),
    ),
    "a shift writes": (
        cpu(segment("ds", kind=RO)),
        "d103",
        refused("read-only", GP, "ds", 0x100, 4, "write"),
    ),
    "cmpxchg writes": (
        cpu(segment("ds", kind=RO)),
        "0fb10b",
        refused("read-only", GP, "ds", 0x100, 4, "write"),
    ),
    "movups stores": (
        cpu(segment("ds", kind=RO)),
        "0f1103",
        refused("read-only", GP, "ds", 0x100, 16, "write"),
    ),
    "fstp stores": (
        cpu(segment("ds", kind=RO)),
        "dd1b",
        refused("read-only", GP, "ds", 0x100, 8, "write"),
    ),
    "fld reads": (cpu(segment("ds", kind=RO)), "dd03", None),
    "fnstenv has 28 bytes": (cpu(ES, ebx=0xFE5), "26d933", past("es", 0xFE5, 28, "write")),
    "fnstenv that fits": (cpu(ES, ebx=0xFE4), "26d933", None),
    "fnstenv with CR0.TS raises #NM first": (cpu(ES, ebx=0xFF8, cr0=8), "26d933", None),
    "fnsave has 108 bytes": (cpu(ES, ebx=0xF95), "26dd33", past("es", 0xF95, 108, "write")),
    "fxsave has 512 bytes": (cpu(ES, ebx=0xE10), "260fae03", past("es", 0xE10, 512, "write")),
    "lgdt reads 6 bytes": (cpu(ES, ebx=0xFFB, cpl=0), "260f0113", past("es", 0xFFB, 6, "read")),
    "lds reads 6 bytes": (cpu(ES, ebx=0xFFB), "26c503", past("es", 0xFFB, 6, "read")),
    "a bit string moves its operand": (
        cpu(ES, ebx=0, ecx=0x8000),
        "260fab0b",
        past("es", 0x1000, 4, "write"),
    ),
    "a bit string moves it back": (
        cpu(ES, ebx=0x1004, ecx=0xFFFF_FFFF),
        "260fab0b",
        past("es", 0x1000, 4, "write"),
    ),
    "xlatb adds AL": (
        cpu(segment("ds", 0x100), eax=0xFF02, ebx=0xFF),
        "d7",
        past("ds", 0x101, 1, "read"),
    ),
    "expand-down, the limit itself": (
        cpu(LOW, ebx=0xFFF),
        "268a03",
        refused("expand-down", GP, "es", 0xFFF, 1, "read"),
    ),
    "expand-down, above it": (cpu(LOW, ebx=0x1000), "268a03", None),
    "expand-down of 16 bits ends at 64 KiB": (
        cpu(segment("es", 0xFFF, DOWN, db=False), ebx=0xFFFF),
        "268b03",
        refused("expand-down", GP, "es", 0xFFFF, 4, "read"),
    ),
    "expand-down of 32 bits goes on": (cpu(LOW, ebx=0xFFFF), "268b03", None),
    "read-only data can be read": (cpu(segment("es", kind=RO)), "268a03", None),
    "and not written": (
        cpu(segment("es", kind=RO)),
        "26c6035a",
        refused("read-only", GP, "es", 0x100, 1, "write"),
    ),
    "read-only expand-down": (
        cpu(segment("es", 0xFFF, DOWN_RO), ebx=0x1000),
        "26c6035a",
        refused("read-only", GP, "es", 0x1000, 1, "write"),
    ),
    "readable code": (cpu(), "2e8a03", None),
    "execute-only code": (
        cpu(X),
        "2e8a03",
        refused("execute-only", GP, "cs", 0x100, 1, "read"),
    ),
    "no code is writable": (
        cpu(),
        "2ec60333",
        refused("code-write", GP, "cs", 0x100, 1, "write"),
    ),
    "null": (cpu(NULL), "268a03", refused("null", GP, "es", 0x100, 1, "read")),
    "16-bit addresses wrap": (cpu(CS16, segment("ds", 0xFFF), ebx=0xFFFF, esi=2), "8a00", None),
}

STRINGS = {
    "movs reads first": (
        cpu(ES, segment("ds", 0xFFF), esi=0x1000, edi=0x1000),
        "a4",
        past("ds", 0x1000, 1, "read"),
    ),
    "movs then writes ES": (cpu(ES, edi=0x1000), "a5", past("es", 0x1000, 4, "write")),
    "an override moves the source alone": (
        cpu(ES, esi=0x1000, edi=0xFF8),
        "26a4",
        past("es", 0x1000, 1, "read"),
    ),
    "rep, an element inside": (cpu(ES, edi=0xFFF, ecx=4), "f3a4", None),
    "rep, the element that crosses": (
        cpu(ES, edi=0x1000, ecx=4),
        "f3a4",
        past("es", 0x1000, 1, "write"),
    ),
    "rep of none": (cpu(ES, edi=0x1000, ecx=0), "f3a4", None),
    "stos": (cpu(ES, edi=0xFFE), "ab", past("es", 0xFFE, 4, "write")),
    "lods": (cpu(segment("ds", 0xFFF), esi=0xFFE), "ad", past("ds", 0xFFE, 4, "read")),
    "scas reads": (cpu(segment("es", kind=RO)), "ae", None),
    "cmps reads ES too": (cpu(ES, edi=0x1000), "a6", past("es", 0x1000, 1, "read")),
    "ins writes": (
        cpu(segment("es", kind=RO)),
        "6c",
        refused("read-only", GP, "es", 0x100, 1, "write"),
    ),
    "outs reads": (cpu(segment("ds", 0xFF), esi=0x100), "6e", past("ds", 0x100, 1, "read")),
}

SMALL = segment("ss", 0xFFF)
STACK = {
    "push at the limit": (cpu(SMALL, esp=0x1000), "50", None),
    "push past it": (cpu(SMALL, esp=0x1004), "50", past("ss", 0x1000, 4, "write")),
    "push wraps at ESP 0": (cpu(SMALL, esp=0), "50", past("ss", 0xFFFF_FFFC, 4, "write")),
    "push of 2 bytes": (cpu(SMALL, esp=0x1002), "6650", past("ss", 0x1000, 2, "write")),
    "a 16-bit stack wraps at 64 KiB": (
        cpu(segment("ss", 0xFFF, db=False), esp=0x12_0002),
        "50",
        past("ss", 0xFFFE, 4, "write"),
    ),
    "pop past it": (cpu(SMALL, esp=0xFFD), "58", past("ss", 0xFFD, 4, "read")),
    "pop to memory uses the new ESP": (
        cpu(SMALL, esp=0xFFC),
        "8f0424",
        past("ss", 0x1000, 4, "write"),
    ),
    "push from memory reads first": (
        cpu(ES, SMALL, ebx=0x1000, esp=0x1004),
        "26ff33",
        past("es", 0x1000, 4, "read"),
    ),
    "pusha, its last element": (
        cpu(segment("ss", 0xFFF, DOWN), esp=0x101C),
        "60",
        refused("expand-down", SS, "ss", 0xFFC, 4, "write"),
    ),
    "popa": (cpu(SMALL, esp=0xFE4), "61", past("ss", 0x1000, 4, "read")),
    "leave reads at EBP": (cpu(SMALL, ebp=0x1000), "c9", past("ss", 0x1000, 4, "read")),
    "enter checks the new ESP": (
        cpu(SMALL, esp=0x100),
        "c8000200",
        past("ss", 0xFFFF_FEFC, 4, "write"),
    ),
    "call pushes": (cpu(SMALL, esp=0x1004), "e800000000", past("ss", 0x1000, 4, "write")),
    "ret pops": (cpu(SMALL, esp=0xFFE), "c3", past("ss", 0xFFE, 4, "read")),
    "iret pops three": (cpu(SMALL, esp=0xFF8), "cf", past("ss", 0x1000, 4, "read")),
    "far ret pops two": (cpu(SMALL, esp=0xFFC), "cb", past("ss", 0x1000, 4, "read")),
}


def beyond(offset: int, size: int = 1) -> object:
    return refused("code-limit", GP, "cs", offset, size, "execute")


CODE = segment("cs", 0x1FFF, CODE_X)
FETCH = {
    "the last byte": (cpu(CODE, eip=0x1FFF), "90", None),
    "straight on": (cpu(CODE, eip=0x2000), "90", beyond(0x2000)),
    "an instruction that straddles": (cpu(CODE, eip=0x1FFE), "b800000000", beyond(0x1FFE, 5)),
    "jmp": (cpu(CODE), "e9fb0f0000", beyond(0x2000)),
    "jmp inside": (cpu(CODE), "e9fa0f0000", None),
    "indirect jmp": (cpu(CODE, ebx=0x2000), "ffe3", beyond(0x2000)),
    "call, before it pushes": (cpu(CODE, SMALL, esp=0x1004), "e8fb0f0000", beyond(0x2000)),
    "jz taken": (cpu(CODE, eflags=0x42), "0f84fa0f0000", beyond(0x2000)),
    "jz not taken": (cpu(CODE), "0f84fa0f0000", None),
    "jg with SF and OF equal": (cpu(CODE, eflags=0x880), "0f8ffa0f0000", beyond(0x2000)),
    "jg with ZF": (cpu(CODE, eflags=0x40), "0f8ffa0f0000", None),
    "loop goes on": (cpu(CODE, eip=0x1FF0, ecx=2), "e27f", beyond(0x2071)),
    "loop ends": (cpu(CODE, eip=0x1FF0, ecx=1), "e27f", None),
    "jecxz": (cpu(CODE, eip=0x1FF0, ecx=0), "e37f", beyond(0x2071)),
    "a 16-bit jmp wraps": (cpu(segment("cs", 0xFFFF, CODE_X)), "66e9ffff", None),
}


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        pytest.param(*row, id=name)
        for rows in (DATA, STRINGS, STACK, FETCH)
        for name, row in rows.items()
    ],
)
def test_rows(state: Cpu, code: str, expected: object) -> None:
    """Each situation is refused as the manual says, or not at all."""
    assert found(check(state, code)) == expected


LIMITED = bytes.fromhex("ff0f000000f94000")
RETURNS = {
    "ret": ("c3", "00200000", True),
    "ret to code": ("c3", "00100000", False),
    "far ret": ("cb", "0020000043000000", True),
    "iret": ("cf", "002000004300000002000000", True),
    "far ret to the last byte": ("cb", "ff0f000043000000", False),
    "far ret to an outer ring's data is another fault": ("cb", "0020000040000000", False),
    "far jmp": ("ea002000004300", "", True),
    "far call": ("9a002000004300", "", True),
}


@pytest.mark.parametrize("name", RETURNS)
def test_where_returns_lead(name: str) -> None:
    """The target is on the stack or in the code, its limit in the descriptor that it names."""
    code, stack, is_refused = RETURNS[name]
    state = cpu(segment("cs", 0x1FFF, CODE_X), esp=STACK_AT)
    held = {STACK_AT + i: bytes.fromhex(stack)[i:] for i in range(0, 12, 4)}
    held[GDT_AT + 0x40] = LIMITED
    violation = check(state, code, held)
    assert (found(violation) == beyond(0x2000)) is is_refused


def test_iret_from_ring_0() -> None:
    """The ring that is returned to has its own limit, and two more elements are popped."""
    frame = "0020000043000000020000000001000023000000"
    held = {STACK_AT + i: bytes.fromhex(frame)[i:] for i in range(0, 20, 4)}
    held[GDT_AT + 0x40] = LIMITED
    assert found(check(cpu(cpl=0, esp=STACK_AT), "cf", held)) == beyond(0x2000)
    small = segment("ss", STACK_AT + 0xF)
    assert found(check(cpu(small, cpl=0, esp=STACK_AT), "cf", held)) == past(
        "ss", STACK_AT + 0x10, 4, "read"
    )


AM, FLAG = 1 << 18, 1 << 18
ALIGNMENT = {
    "a word": (0x101, "668b03", 2),
    "a dword": (0x102, "8b03", 4),
    "a double": (0x104, "dd03", 8),
    "an extended double": (0x104, "db2b", 10),
    "a push": (0x102, "50", 4),
}


@pytest.mark.parametrize("name", ALIGNMENT)
def test_alignment(name: str) -> None:
    """#AC needs CR0.AM, EFLAGS.AC and ring 3 (table 6-7)."""
    at, code, size = ALIGNMENT[name]
    push = name == "a push"
    state = cpu(ebx=at, esp=at, cr0=AM, eflags=FLAG | 2)
    access = "write" if push else "read"
    place, offset = ("ss", at - 4) if push else ("ds", at)
    assert found(check(state, code)) == ("alignment", AC, 0, place, offset, size, access)
    assert check(replace(state, cr0=1), code) is None
    assert check(replace(state, eflags=2), code) is None
    assert check(replace(state, cpl=0), code) is None


def test_alignment_is_of_the_linear_address() -> None:
    """A base that is not aligned spoils an offset that is; the limit is checked before both."""
    state = cpu(segment("es", 0xFFF, base=1), ebx=0x100, cr0=AM, eflags=FLAG | 2)
    assert found(check(state, "268b03")) == ("alignment", AC, 0, "es", 0x100, 4, "read")
    moved = replace(state, gpr={**state.gpr, "ebx": 0x1003})
    assert found(check(moved, "268b03")) == past("es", 0x1003, 4, "read")


def test_icebp_is_a_trap() -> None:
    """F1 raises #DB behind it, without an error code."""
    violation = check(cpu(), "f1")
    assert found(violation) == ("icebp", DB, None, "cs", 0x1000, 1, "execute")
    assert violation is not None
    assert violation.resume == 0x1001


# The list of SDM Vol. 3A, 5.9, and what it leaves to the instructions' own pages.


def test_real_mode_pushes_no_error_code() -> None:
    """Limits hold in real and virtual 8086 mode; types and null selectors are not known there."""
    state = cpu(mode="real", ebx=0xFFFF)
    assert found(check(state, "8b07")) == ("limit", GP, None, "ds", 0xFFFF, 2, "read")
    assert check(cpu(segment("ds", 0xFFFF, RO, p=False, db=False), mode="real"), "8907") is None
    v86 = cpu(mode="v86", ebx=0xFFFF)
    assert found(check(v86, "8b07")) == ("limit", GP, 0, "ds", 0xFFFF, 2, "read")


def test_long_mode_checks_no_segment() -> None:
    """64-bit code has no limits, types or null segments."""
    state = cpu(NULL, segment("ds", 0xFFF, RO), mode="long")
    for code in ("268a03", "c6035a", "50", "e9fb0f0000"):
        assert check(state, code) is None
    assert check(state, "f1") is not None


def test_saved_eip_restarts() -> None:
    """A fault is resumed at the instruction that raised it."""
    violation = check(cpu(ES, ebx=0x1000), "268a03")
    assert violation is not None
    assert violation.resume == 0x1000


@given(st.binary(max_size=15), st.sampled_from(sorted(MODES)), st.integers(0, FLAT))
def test_every_byte_is_judged(code: bytes, mode: str, value: int) -> None:
    """Nothing that memory may hold raises."""
    state = cpu(mode=mode, **dict.fromkeys(GPR32, value))
    judge(state, code, lambda _address, size: code.ljust(size, b"\1")[:size])
    judge(state, code, lambda _address, _size: None)
