"""Every 8 or 16 bytes decode, and the fields of their JSON document rebuild them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.views import data
from klosdbg.views.base import Style
from klosdbg.x86.descriptor import (
    Descriptor,
    Empty,
    Gate,
    Reserved,
    Segment,
    SystemSegment,
    decode_descriptor,
    decode_gate,
    descriptor_size,
)
from klosdbg.x86.selector import decode_selector
from klosdbg.x86.table import Entry
from tests.encode import encode_descriptor, encode_selector

EIGHT = st.binary(min_size=8, max_size=8)
SIXTEEN = st.binary(min_size=16, max_size=16)


def document(model: object) -> dict[str, Any]:
    """Show a model as JSON does, its raw bytes withheld."""
    shown: dict[str, Any] = json.loads(json.dumps(data(model, Style())))
    del shown["raw"]
    return {name: _number(value) for name, value in shown.items()}


def _number(value: object) -> object:
    return int(value, 16) if isinstance(value, str) and value.startswith("0x") else value


def rebuilt(descriptor: Descriptor) -> bytes:
    return encode_descriptor(document(Entry(0, descriptor)), len(descriptor.raw))


@given(EIGHT)
def test_any_eight_bytes_are_a_descriptor(raw: bytes) -> None:
    """Legacy descriptors of every type round-trip, reserved bits included."""
    descriptor = decode_descriptor(raw)
    assert descriptor.raw == raw
    assert rebuilt(descriptor) == raw


@given(SIXTEEN)
def test_any_sixteen_bytes_are_a_descriptor_in_long_mode(raw: bytes) -> None:
    """Long-mode descriptors round-trip; a code or data segment takes the first eight bytes."""
    descriptor = decode_descriptor(raw, long_mode=True)
    size = 8 if raw[5] & 0x10 else 16
    assert rebuilt(descriptor) == raw[:size]


@given(EIGHT)
def test_any_eight_bytes_are_a_gate(raw: bytes) -> None:
    """Legacy IDT entries round-trip; S=1 is reserved there."""
    gate = decode_gate(raw)
    assert not isinstance(gate, Segment)
    assert rebuilt(gate) == raw


@given(SIXTEEN)
def test_any_sixteen_bytes_are_a_gate_in_long_mode(raw: bytes) -> None:
    """Long-mode IDT entries round-trip."""
    gate = decode_gate(raw, long_mode=True)
    assert not isinstance(gate, Segment)
    assert rebuilt(gate) == raw


@pytest.mark.parametrize("flat", range(16))
@pytest.mark.parametrize("long_mode", [False, True])
def test_every_system_type(flat: int, long_mode: bool) -> None:
    """The 16 system types have the kinds of the manual's table, in both modes."""
    legacy = [
        "reserved",
        "tss16",
        "ldt",
        "tss16",
        "call-gate",
        "task-gate",
        "interrupt-gate",
        "trap-gate",
        "reserved",
        "tss32",
        "reserved",
        "tss32",
        "call-gate",
        "reserved",
        "interrupt-gate",
        "trap-gate",
    ]
    wide = [
        "reserved",
        "reserved",
        "ldt",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "reserved",
        "tss64",
        "reserved",
        "tss64",
        "call-gate",
        "reserved",
        "interrupt-gate",
        "trap-gate",
    ]
    raw = bytes((1, 0, 0, 0, 0, 0x80 | flat, 0, 0)) + bytes(8 if long_mode else 0)
    descriptor = decode_descriptor(raw, long_mode)
    assert descriptor.kind == (wide if long_mode else legacy)[flat]
    width = {"tss64": 64, "ldt": 0, "task-gate": 0}.get(descriptor.kind)
    if isinstance(descriptor, Gate | SystemSegment):
        expected = 64 if long_mode else 32 if flat & 8 else 16
        assert descriptor.bits == (expected if width is None else width)
    if isinstance(descriptor, SystemSegment):
        assert descriptor.busy == (flat in (3, 11))


def test_limits_are_exact() -> None:
    """Stored limit, granularity, and the valid offsets of expand-up and expand-down segments."""
    flat = decode_descriptor(bytes.fromhex("ffff0000009acf00"))
    assert isinstance(flat, Segment)
    assert (flat.limit, flat.last_byte, flat.valid_offsets) == (
        0xFFFFF,
        0xFFFF_FFFF,
        (0, 0xFFFF_FFFF),
    )
    pages = decode_descriptor(bytes.fromhex("0000000000928000"))
    assert isinstance(pages, Segment)
    assert (pages.limit, pages.last_byte) == (0, 0xFFF)
    down = decode_descriptor(bytes.fromhex("ff0f000000964000"))
    assert isinstance(down, Segment)
    assert down.valid_offsets == (0x1000, 0xFFFF_FFFF)
    small = decode_descriptor(bytes.fromhex("ff0f000000960000"))
    assert isinstance(small, Segment)
    assert small.valid_offsets == (0x1000, 0xFFFF)
    nothing = decode_descriptor(bytes.fromhex("ffff000000968f00"))
    assert isinstance(nothing, Segment)
    assert nothing.valid_offsets is None


def test_gates_of_sixteen_bits_use_half_an_offset() -> None:
    """The processor takes IP, not EIP, from a 286 gate; the call gate counts parameters."""
    gate = decode_descriptor(bytes.fromhex("785634120584adde"))
    assert isinstance(gate, Gate)
    assert (gate.offset, gate.unused, gate.params, gate.target_selector) == (
        0x5678,
        0xDEAD,
        5,
        0x1234,
    )
    wide = decode_gate(bytes.fromhex("7856341203 8f bc9a 10325476 00000000"), long_mode=True)
    assert isinstance(wide, Gate)
    assert (wide.offset, wide.ist, wide.params) == (0x7654_3210_9ABC_5678, 3, 0)


def test_kinds_without_content() -> None:
    """Zero is an empty slot; reserved types keep every bit."""
    assert isinstance(decode_descriptor(bytes(8)), Empty)
    assert isinstance(decode_gate(bytes(16), long_mode=True), Empty)
    assert isinstance(decode_descriptor(bytes(5) + b"\x8a\0\0"), Reserved)


@given(SIXTEEN)
def test_size_in_a_table(raw: bytes) -> None:
    """Only long-mode system descriptors take two slots."""
    assert descriptor_size(raw) == 8
    wide = not raw[5] & 0x10 and (raw[5] & 0xF) in (2, 9, 11, 12, 14, 15)
    assert descriptor_size(raw, long_mode=True) == (16 if wide else 8)


@given(st.integers(0, 0xFFFF))
def test_any_selector(raw: int) -> None:
    """Selectors round-trip."""
    selector = decode_selector(raw)
    assert encode_selector(document(selector)) == raw
    assert selector.null == (raw < 4)
    assert decode_selector(raw | 0xABCD_0000) == selector
