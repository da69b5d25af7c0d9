"""Following DSOS through code, from the load of its immediate."""

import pytest
from klosdbg.klos.gadgets.flow import escape, loaded_register
from klosdbg.x86.disasm import disassemble

DSOS = 0x1063
APP_TOP = 0xC0000000


def followed(code: str, register: str = "eax") -> tuple[int, str]:
    return escape(disassemble(bytes.fromhex(code), 0xC0100000, 32, 16), register, APP_TOP)


@pytest.mark.parametrize(
    ("code", "register"),
    [
        ("b863100000", "eax"),  # mov eax, 0x1063
        ("bf6310abcd", "edi"),  # mov edi, 0xcdab1063
        ("66b96310", "ecx"),  # mov cx, 0x1063
        ("c7c363100000", "ebx"),  # mov ebx, 0x1063
        ("b800106300", None),  # mov eax, 0x631000
        ("0563100000", None),  # add eax, 0x1063
        ("6863100000", None),  # push 0x1063
        ("8b0463", None),  # mov eax, [ebx]
    ],
)
def test_loads(code: str, register: str | None) -> None:
    """Any register, any upper half; nothing but mov."""
    (instruction,) = disassemble(bytes.fromhex(code), 0, 32, 1)
    assert loaded_register(instruction, DSOS) == register


@pytest.mark.parametrize(
    ("code", "taken", "why"),
    [
        ("c3", 1, "returns to the caller with DSOS in EAX"),
        ("8ed8c3", 2, "returns to the caller with DSOS in DS, EAX"),
        ("8ed831c0c3", 3, "returns to the caller with DSOS in DS"),
        ("89c331c0c3", 3, "returns to the caller with DSOS in EBX"),
        ("8ed831c0b9230000008ed9c3", 4, ""),  # DS is DSAPP again
        ("31c0c3", 1, ""),  # cleared at once
        ("b800000000c3", 1, ""),
        ("50", 1, "pushes eax, which holds DSOS, onto the caller's stack"),
        ("8ed81e", 2, "pushes ds, which holds DSOS, onto the caller's stack"),
        ("bc00f0ffc050c3", 3, "returns to the caller with DSOS in EAX"),  # its own stack
        ("8903", 1, "stores eax, which holds DSOS, where the caller's registers say"),
        ("a3000040c0c3", 2, "returns to the caller with DSOS in EAX"),  # stored in OS memory
        ("a300104000", 1, "stores eax, which holds DSOS, where the caller's registers say"),
        ("ffd1", 1, "goes where ecx says, with DSOS in EAX"),
        ("ffe3", 1, "goes where ebx says, with DSOS in EAX"),
        ("e8fb000000c3", 1, ""),  # OS code goes on
        ("cf", 1, "returns to the caller with DSOS in EAX"),
        ("f4", 1, ""),  # a fault
    ],
)
def test_ways_out(code: str, taken: int, why: str) -> None:
    """What returns, stores or jumps with the selector is a way out; what overwrites it ends it."""
    assert followed(code) == (taken, why)


def test_the_ways_of_parts_of_a_register() -> None:
    """``mov ebx, eax`` hands it on, loading BL overwrites a part of it and ends it."""
    assert followed("89c3b000c3")[1] == "returns to the caller with DSOS in EBX"
