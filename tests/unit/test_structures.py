"""TSSs, I/O bitmaps, error codes, flags and paging entries decode whatever they hold."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.views import data
from klosdbg.views.base import Style
from klosdbg.x86.errorcode import decode_error_code
from klosdbg.x86.flags import LAYOUTS, decode_flags
from klosdbg.x86.iobitmap import IoBitmap
from klosdbg.x86.paging import LEVELS, Mode, Paging, decode_pte, is_canonical, walk
from klosdbg.x86.tss import decode_tss
from tests.encode import encode_error_code, encode_iobitmap, encode_pte, encode_tss

SIZES = {16: 44, 32: 104, 64: 104}
MODES: list[Mode] = ["32-bit", "PSE", "PAE", "4-level", "5-level"]


def document(model: object) -> Mapping[str, Any]:
    return data(model, Style())


def without_reserved(raw: bytes, bits: int) -> bytes:
    """Clear what the manual reserves in a TSS, which has no field."""
    selectors = (0, 8, 16, 24, *range(72, 100, 4))
    reserved = {
        16: set[int](),
        32: {at + i for at in selectors for i in (2, 3)} | {101},
        64: {*range(4), *range(28, 36), *range(92, 102)},
    }[bits]
    kept = bytearray(0 if at in reserved else byte for at, byte in enumerate(raw))
    if bits == 32:
        kept[100] &= 1
    return bytes(kept)


@pytest.mark.parametrize("bits", SIZES)
@given(payload=st.data())
def test_any_tss(bits: int, payload: st.DataObject) -> None:
    """A whole TSS round-trips through its fields; a shorter one has None past its end."""
    size = SIZES[bits]
    raw = payload.draw(st.binary(min_size=size, max_size=size))
    tss = decode_tss(raw, bits, size - 1)
    assert tss.raw == raw
    assert encode_tss(tss.fields, bits) == without_reserved(raw, bits)
    cut = payload.draw(st.integers(0, size - 1))
    short = decode_tss(raw[:cut], bits, size - 1)
    for name, value in short.fields.items():
        assert value in (None, tss.fields[name])
    assert decode_tss(raw, bits, cut - 1).fields == short.fields


@given(st.binary(max_size=300), st.integers(0x68, 0xDFFF))
def test_any_iobitmap(raw: bytes, base: int) -> None:
    """The allowed ranges alone rebuild the bitmap, but for the last byte: no port can use it."""
    bitmap = IoBitmap(raw, base, base + len(raw) - 1)
    usable = max(len(raw) - 1, 0)
    assert encode_iobitmap(list(bitmap.allowed), usable) == raw[:usable]


@given(st.binary(min_size=2, max_size=40), st.integers(0, 400), st.sampled_from([1, 2, 4]))
def test_an_access_needs_every_port(raw: bytes, port: int, size: int) -> None:
    """A word or doubleword passes where each of its ports passes alone."""
    bitmap = IoBitmap(raw, 0x68, 0x68 + len(raw) - 1)
    alone = all(bitmap.refusal(port + i, 1) is None for i in range(size))
    whole = bitmap.refusal(port, size) is None
    last_byte = (port + size - 1) // 8 == len(raw) - 1
    assert whole == alone or (whole and last_byte)


@given(st.integers(0, 0xFFFF), st.sampled_from([None, *range(32), 0x80]))
def test_any_error_code(raw: int, vector: int | None) -> None:
    """The fields rebuild the code, with what the format reserves beside them."""
    code = decode_error_code(raw, vector)
    assert code.explanation
    assert encode_error_code(code.fields, code.form) | code.reserved == raw
    assert document(code)["raw"] == hex(raw)


@pytest.mark.parametrize(
    ("raw", "access", "doubted"),
    [
        (0x00, "read or instruction fetch", True),
        (0x05, "read or instruction fetch", True),
        (0x02, "write", False),
        (0x14, "instruction fetch", False),
        (0x25, "read", False),
        (0x45, "shadow-stack read", False),
        (0x47, "shadow-stack write", False),
    ],
)
def test_access_of_a_page_fault(raw: int, access: str, doubted: bool) -> None:
    """I/D set is a fetch; clear, it may be one, unless other bits speak of data."""
    code = decode_error_code(raw, 14)
    assert code.access == access
    assert (code.doubt is not None) == doubted
    assert decode_error_code(raw, 13).access is None


@pytest.mark.parametrize("register", LAYOUTS)
@given(raw=st.integers(0, 2**64 - 1))
def test_any_flags(register: str, raw: int) -> None:
    """Named and unnamed bits together are the register; no two fields share a bit."""
    flags = decode_flags(register, raw)
    named = 0
    rebuilt = 0
    for field in flags.layout.fields:
        mask = sum(1 << n for n in range(field.low, field.high + 1))
        assert not named & mask
        named |= mask
        rebuilt |= flags.fields[field.name] << field.low
    assert rebuilt | (flags.reserved ^ flags.layout.ones) & ~named == raw


@pytest.mark.parametrize("mode", MODES)
@given(raw=st.integers(0, 2**64 - 1), payload=st.data())
def test_any_page_entry(mode: Mode, raw: int, payload: st.DataObject) -> None:
    """The fields of JSON rebuild an entry of any mode and level."""
    level = payload.draw(st.integers(1, LEVELS[mode]))
    value = raw & 0xFFFF_FFFF if LEVELS[mode] == 2 else raw
    entry = decode_pte(raw, mode, level)
    assert entry.raw == value
    assert encode_pte(document(entry)) == value
    assert entry.address < 1 << 52
    assert entry.page_size is None or entry.address % entry.page_size == 0


@pytest.mark.parametrize("mode", MODES)
@given(linear=st.integers(0, 2**64 - 1), memory=st.binary(min_size=8, max_size=64))
def test_any_walk_ends(mode: Mode, linear: int, memory: bytes) -> None:
    """A walk through garbage ends within the levels, and says why it found no page."""
    paging = Paging(mode, 0x1000)

    def read(address: int, size: int) -> bytes:
        return bytes(memory[(address + i) % len(memory)] for i in range(size))

    found = walk(read, linear, paging)
    assert len(found.steps) <= LEVELS[mode]
    assert (found.physical is None) == (found.why is not None)
    assert (found.steps == ()) == (LEVELS[mode] > 3 and not is_canonical(linear, mode))
    assert document(found)["mode"] == mode


def test_a_walk_in_five_levels() -> None:
    """Rights are those of every level together; the physical address keeps the offset."""
    linear = (1 << 48) | (2 << 39) | (3 << 30) | (4 << 21) | (5 << 12) | 0x678
    memory = {
        0x1000 + 8: 0x2007,
        0x2000 + 16: 0x3005,
        0x3000 + 24: 0x4007,
        0x4000 + 32: 0x8000_0000_0000_5007,
        0x5000 + 40: 0x7_7000_0123_4003,
    }

    def read(address: int, size: int) -> bytes | None:
        return memory[address].to_bytes(size, "little") if address in memory else None

    found = walk(read, linear, Paging("5-level", 0x1018, nxe=True))
    assert [step.index for step in found.steps] == [1, 2, 3, 4, 5]
    assert found.physical == 0x7_7000_0123_4678
    assert (found.user, found.writable, found.nx) == (False, False, True)
    without_nx = walk(read, linear, Paging("5-level", 0x1018))
    assert without_nx.physical is None
    assert without_nx.why == "the pde has reserved bits set: 0x8000000000000000"


def test_large_pages() -> None:
    """4 MiB with PSE-36 address bits, 2 MiB, 1 GiB; without PSE bit 7 means nothing."""
    pse = decode_pte(0x0040_7083, "PSE", 2)
    assert (pse.page_size, pse.address, pse.pat) == (1 << 22, 0x3_0040_0000, True)
    assert decode_pte(0x0040_7083, "32-bit", 2).page_size is None
    assert decode_pte(0x0060_0083, "PSE", 2).reserved == 1 << 21
    assert decode_pte(0x2000E3, "PAE", 2).page_size == 1 << 21
    assert decode_pte(0x4000_0083, "4-level", 3).page_size == 1 << 30
    assert decode_pte(0x4000_2083, "4-level", 3).reserved == 0x2000
    assert decode_pte(0x83, "4-level", 4).reserved == 0x80
    assert decode_pte(0x1E7, "PAE", 3).reserved == 0x1E6
    assert pse.reserved_bits(36, nxe=False) == 0
    assert decode_pte(0x0042_0083, "PSE", 2).reserved_bits(36, nxe=False) == 1 << 17


def test_canonical() -> None:
    """48 bits with four levels, 57 with five, sign-extended."""
    assert is_canonical(0x7FFF_FFFF_FFFF)
    assert not is_canonical(0x8000_0000_0000)
    assert is_canonical(0x8000_0000_0000, "5-level")
    assert is_canonical(0xFFFF_8000_0000_0000)
    assert not is_canonical(0xFFFF_7FFF_FFFF_FFFF)
    assert is_canonical(0xFF00_0000_0000_0000, "5-level")


def test_long_mode_has_no_virtual_8086_interrupts() -> None:
    """A 64-bit TSS has no map of them, wherever its I/O bitmap begins (SDM 3, 8.7)."""
    raw = bytearray(0x2000)
    raw[0x66:0x68] = (0x88).to_bytes(2, "little")
    assert decode_tss(bytes(raw), 64, len(raw) - 1, 0).redirection is None
    assert decode_tss(bytes(raw), 32, len(raw) - 1, 0).redirection == bytes(32)
