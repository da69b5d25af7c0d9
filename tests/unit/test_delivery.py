"""Taking an exception by hand, step by step as the manual has it (SDM Vol. 3A, 6.12)."""

from dataclasses import replace

import pytest
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.delivery import Delivery, Fault, plan_delivery
from tests.processors import GDT_AT, cpu, segment

GP = Fault(13, 0, 0x1000)
DB = Fault(1, None, 0x1001)
FLAGS = 0x4302
"""EFLAGS as the interrupted program had them: NT, IF, TF and bit 1."""

KERNEL_CODE, KERNEL_DATA, USER_CODE = "ffff0000009bcf00", "ffff00000093cf00", "ffff000000fbcf00"
GATES = {
    "interrupt": "2211080000 8e 4433",
    "trap": "2211080000 8f 4433",
    "interrupt16": "2211080000 86 0000",
    "task": "0000280000 85 0000",
    "absent": "2211080000 0e 4433",
    "no gate": "0000000000 00 0000",
    "outer": "22111b0000 8e 4433",
    "to data": "2211100000 8e 4433",
}
TSS_AT, IDT_AT, ESP0 = 0x6000, 0x7000, 0x9000


def state(*, ring: int = 3, mode: str = "protected") -> Cpu:
    made = cpu(
        segment("cs", kind=0xB),
        segment("tr", 0x67, 0xB, base=TSS_AT),
        mode=mode,
        esp=0x8000,
        eflags=FLAGS,
        cpl=ring,
    )
    return replace(made, idtr=replace(made.idtr, base=IDT_AT))


def memory(gate: str, vector: int = 13) -> dict[int, bytes]:
    """Lay out a GDT (code 08, data 10, user code 18), a TSS with ESP0, and one gate."""
    tss = bytes(4) + ESP0.to_bytes(4, "little") + (0x10).to_bytes(4, "little")
    return {
        GDT_AT: bytes(8) + bytes.fromhex(KERNEL_CODE + KERNEL_DATA + USER_CODE),
        TSS_AT: tss.ljust(0x68, b"\0"),
        IDT_AT + 8 * vector: bytes.fromhex(GATES[gate].replace(" ", "")),
        0x7F00: bytes(0x200),
        ESP0 - 0x100: bytes(0x100),
    }


def plan(made: Cpu, fault: Fault, held: dict[int, bytes]) -> Delivery | str:
    def read(address: int, size: int) -> bytes | None:
        for start, raw in held.items():
            if start <= address and address + size <= start + len(raw):
                return raw[address - start : address - start + size]
        return None

    return plan_delivery(made, fault, read)


def planned(made: Cpu, fault: Fault, held: dict[int, bytes]) -> Delivery:
    found = plan(made, fault, held)
    assert isinstance(found, Delivery)
    return found


def words(delivery: Delivery) -> list[tuple[int, int]]:
    return [(address, int.from_bytes(raw, "little")) for address, raw in delivery.memory]


def test_to_an_inner_ring() -> None:
    """SS and ESP come from the TSS; SS, ESP, EFLAGS with RF, CS, EIP and the code are pushed."""
    delivery = planned(state(), GP, memory("interrupt"))
    assert words(delivery) == [
        (ESP0 - 4, 0x43),
        (ESP0 - 8, 0x8000),
        (ESP0 - 12, FLAGS | 1 << 16),
        (ESP0 - 16, 0x43),
        (ESP0 - 20, 0x1000),
        (ESP0 - 24, 0),
    ]
    assert dict(delivery.registers) == {
        "eflags": 0x2,
        "ss": 0x10,
        "esp": ESP0 - 24,
        "cs": 0x08,
        "eip": 0x33441122,
    }


def test_ss_is_loaded_before_cs() -> None:
    """CPL follows SS, so that CS is loaded with the privilege that it is to have."""
    names = [name for name, _ in planned(state(), GP, memory("interrupt")).registers]
    assert names.index("ss") < names.index("cs")


def test_a_trap_gate_leaves_if() -> None:
    """It clears TF and NT, and not IF."""
    assert dict(planned(state(), GP, memory("trap")).registers)["eflags"] == 0x202


def test_in_the_same_ring() -> None:
    """The stack stays, and neither SS nor ESP is pushed."""
    delivery = planned(state(ring=0), GP, memory("interrupt"))
    assert [value for _, value in words(delivery)] == [FLAGS | 1 << 16, 0x43, 0x1000, 0]
    assert dict(delivery.registers)["esp"] == 0x8000 - 16
    assert "ss" not in dict(delivery.registers)


def test_a_16_bit_gate_pushes_words() -> None:
    """Two bytes each, and IP has 16 bits."""
    delivery = planned(state(), GP, memory("interrupt16"))
    assert {len(raw) for _, raw in delivery.memory} == {2}
    assert dict(delivery.registers)["esp"] == ESP0 - 12
    assert dict(delivery.registers)["eip"] == 0x1122


def test_a_trap_has_no_code_and_no_rf() -> None:
    """#DB behind ICEBP saves EFLAGS as they were, and the next EIP."""
    delivery = planned(state(), DB, memory("interrupt", vector=1))
    assert [value for _, value in words(delivery)][2:] == [FLAGS, 0x43, 0x1001]


def test_from_virtual_8086_mode() -> None:
    """The data segments are pushed first, and nulled."""
    made = state(mode="v86")
    delivery = planned(made, GP, memory("interrupt"))
    assert len(delivery.memory) == 10
    assert [value for _, value in words(delivery)][:5] == [0x43] * 5
    after = dict(delivery.registers)
    assert not after["eflags"] & 1 << 17
    assert [after[name] for name in ("ds", "es", "fs", "gs")] == [0] * 4


def test_accessed_bits_are_set() -> None:
    """What is loaded is marked, in memory and before it is loaded."""
    held = memory("interrupt")
    held[GDT_AT] = bytes(8) + bytes.fromhex("ffff0000009acf00ffff00000092cf00")
    delivery = planned(state(), GP, held)
    assert delivery.memory[:2] == [(GDT_AT + 0x15, b"\x93"), (GDT_AT + 0x0D, b"\x9b")]


def test_real_mode_uses_the_ivt() -> None:
    """FLAGS, CS and IP, two bytes each; IF and TF are cleared."""
    made = replace(state(mode="real"), idtr=replace(state().idtr, base=0, limit=0x3FF))
    held = {13 * 4: bytes.fromhex("341200f0"), 0x7F00: bytes(0x200)}
    delivery = planned(made, Fault(13, None, 0x1000), held)
    assert [value for _, value in words(delivery)] == [FLAGS, 0x43, 0x1000]
    assert dict(delivery.registers) == {
        "eflags": 0x4002,
        "esp": 0x7FFA,
        "cs": 0xF000,
        "eip": 0x1234,
    }


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("task", "task gate"),
        ("absent", "not usable: a processor would go on to #DF"),
        ("no gate", "not usable"),
        ("to data", "no code that can be entered"),
    ],
)
def test_what_no_gate_takes(gate: str, reason: str) -> None:
    """A sentence says why, and what to do."""
    found = plan(state(), GP, memory(gate))
    assert isinstance(found, str)
    assert reason in found
    assert "\n" not in found


def test_an_outer_ring_cannot_be_entered() -> None:
    """A gate never lowers privilege."""
    assert "no code that can be entered" in str(plan(state(ring=0), GP, memory("outer")))


def test_stacks_that_do_not_hold_the_frame() -> None:
    """Past the limit, not mapped, or not the ring's: a processor would not get through either."""
    held = memory("interrupt")
    small = replace(state(ring=0), segments={**state().segments, "ss": segment("ss", 0x7FF0)})
    assert "does not fit the stack" in str(plan(small, GP, held))
    del held[ESP0 - 0x100]
    assert "does not fit the stack" in str(plan(state(), GP, held))
    short = segment("tr", 3, 0xB, base=TSS_AT)
    made = replace(state(), segments={**state().segments, "tr": short})
    assert "no stack for ring 0" in str(plan(made, GP, held))
    held = memory("interrupt")
    held[TSS_AT] = held[TSS_AT][:8] + (0x13).to_bytes(4, "little") + held[TSS_AT][12:]
    assert "#TS" in str(plan(state(), GP, held))


def test_no_idt_and_long_mode() -> None:
    """A short IDT has no gate; 64-bit frames are left alone."""
    short = replace(state(), idtr=replace(state().idtr, limit=7))
    assert "no gate for #GP" in str(plan(short, GP, memory("interrupt")))
    assert "64-bit" in str(plan(state(mode="long"), GP, memory("interrupt")))
