"""A stub that is not QEMU's: it has no monitor, and describes what a program's stub describes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from klosdbg.errors import CommandError, TargetError
from klosdbg.ports import StopEvent
from klosdbg.read import (
    read_gdt,
    read_idt,
    read_register,
    read_segment_states,
    read_selector,
    read_tss,
)
from klosdbg.targets.rsp import RspPorts, greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.wire.fake_stub import FakeStub, command

GPR = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags")
SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
NAMES = (*GPR, *SELECTORS)
FLAT = {"eip": 0x8049009, "esp": 0xFFFFD94C, "eflags": 0x246, "cs": 0x23, "ss": 0x2B, "ds": 0x2B}
REFUSED = [encode(b"")]


@contextmanager
def other_stub(values: Mapping[str, int]) -> Iterator[tuple[FakeStub, RspPorts]]:
    names = (*NAMES, *(name for name in values if name not in NAMES))
    rows = "".join(f'<reg name="{name}" bitsize="32"/>' for name in names)
    xml = f"<target><architecture>i386</architecture>{rows}</target>"

    def general(_request: bytes) -> list[bytes]:
        moves = [request for request in stub.requests if request in (b"s", b"c")]
        now = {**values, "eip": values["eip"] + (moves[-1:] == [b"s"])}
        raw = b"".join(now.get(name, 0).to_bytes(4, "little") for name in names)
        return [encode(raw.hex().encode())]

    stub = FakeStub(
        {
            b"qXfer:features": [encode(b"l" + xml.encode())],
            command("info status"): REFUSED,
            command("info registers"): REFUSED,
            b"qqemu.PhyMemMode": REFUSED,
            b"qqemu.sstep": REFUSED,
            b"Qqemu": REFUSED,
            b"g": general,
            b"c": [encode(b"T05thread:01;")],
        }
    )
    try:
        yield stub, greet(RspLink(stub.client, "stub"))
    finally:
        stub.close()


def test_what_it_lacks_is_none() -> None:
    with other_stub(FLAT) as (_, ports):
        target = ports.target
        assert target.monitor is target.physical is target.processors is target.reverse is None
        assert target.control is not None
        assert target.linear_writer is not None
        assert target.watchpoints is not None


def test_registers_are_what_it_describes() -> None:
    with other_stub(FLAT) as (_, ports):
        cpu = ports.target.registers.read()
        assert ports.target.registers.read() is cpu
    assert (cpu.mode, cpu.cpl, cpu.code_bits, cpu.linear_pc) == ("protected", 3, 32, 0x8049009)
    assert cpu.segments["ds"].selector == 0x2B
    assert cpu.stack_pointer == 0xFFFFD94C
    hidden = {*SELECTORS, "ldtr", "tr", "gdtr", "idtr"}
    assert [read_register(cpu, name) for name in ("ds", "cr3", "tr")] == [0x2B, None, None]
    assert cpu.untold == hidden | {"cr0", "cr2", "cr3", "cr4", "efer"}


def test_in_real_mode_the_rule_tells_hidden_parts() -> None:
    with other_stub({"eip": 0x7C00, "cs": 0xF000, "cr0": 0x10}) as (_, ports):
        cpu = ports.target.registers.read()
    assert (cpu.mode, cpu.cpl, cpu.linear_pc) == ("real", 0, 0xF7C00)
    assert cpu.segments["cs"].limit == 0xFFFF
    assert not cpu.untold & {"cs", "ds", "cr0"}


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_gdt, "gdtr"),
        (read_idt, "idtr"),
        (read_tss, "the hidden part of tr"),
        (read_segment_states, "the hidden part of es"),
        (lambda target: read_selector(target, 0x2B), "gdtr"),
        (lambda target: read_selector(target, 0x0F), "the hidden part of ldtr"),
    ],
)
def test_what_it_does_not_tell_is_named(read: object, name: str) -> None:
    assert callable(read)
    with other_stub(FLAT) as (_, ports), pytest.raises(CommandError) as caught:
        read(ports.target)
    assert str(caught.value) == f"stub does not tell {name}: QEMU's stub would"


def test_it_cannot_be_reset() -> None:
    with other_stub(FLAT) as (stub, ports):
        with pytest.raises(TargetError, match=r"^stub cannot reset: its stub has no QEMU monitor$"):
            ports.control.reset()
        assert command("system_reset") not in stub.requests


def test_a_step_begins_without_the_breakpoint_under_it() -> None:
    """QEMU's stub passes it; others stop there before anything is executed."""
    with other_stub(FLAT) as (stub, ports):
        ports.control.insert(FLAT["eip"])
        ports.control.insert(0x1000)
        ports.control.resume()
        assert ports.control.wait(10) == StopEvent("breakpoint", 5)
        before = len(stub.requests)
        assert ports.control.step() == StopEvent("step", 5)
        ports.control.resume()
        sent = [request for request in stub.requests[before:] if request != b"g"]
    assert sent[:2] == [b"z0,8049009,1", b"s"]
    assert sent[-2:] == [b"Z0,8049009,1", b"c"]


def test_a_selector_is_written_once() -> None:
    """To write another one first, as QEMU needs it, would harm a program."""
    with other_stub(FLAT) as (stub, ports):
        writer = ports.target.register_writer
        assert writer is not None
        with pytest.raises(TargetError, match="the stub refused to write ds"):
            writer.write("ds", 0x2B)
    assert [request for request in stub.requests if request.startswith(b"P")] == [b"Pc=2b000000"]
