"""The fields of flag registers lie where the manual's masks put them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.x86.cpu import SegmentRegister
from klosdbg.x86.descriptor import Segment, SystemSegment, decode_descriptor
from klosdbg.x86.flags import decode_flags

MASKS = {
    "eflags": {
        "cf": 0x1, "pf": 0x4, "af": 0x10, "zf": 0x40, "sf": 0x80, "tf": 0x100, "if": 0x200,
        "df": 0x400, "of": 0x800, "iopl": 0x3000, "nt": 0x4000, "rf": 0x10000, "vm": 0x20000,
        "ac": 0x40000, "vif": 0x80000, "vip": 0x100000, "id": 0x200000,
    },
    "cr0": {
        "pe": 0x1, "mp": 0x2, "em": 0x4, "ts": 0x8, "et": 0x10, "ne": 0x20, "wp": 0x10000,
        "am": 0x40000, "nw": 0x2000_0000, "cd": 0x4000_0000, "pg": 0x8000_0000,
    },
    "cr4": {
        "vme": 0x1, "pvi": 0x2, "tsd": 0x4, "de": 0x8, "pse": 0x10, "pae": 0x20, "mce": 0x40,
        "pge": 0x80, "pce": 0x100, "osfxsr": 0x200, "osxmmexcpt": 0x400, "umip": 0x800,
        "la57": 0x1000, "vmxe": 0x2000, "smxe": 0x4000, "fsgsbase": 0x10000, "pcide": 0x20000,
        "osxsave": 0x40000, "kl": 0x80000, "smep": 0x100000, "smap": 0x200000, "pke": 0x400000,
        "cet": 0x800000, "pks": 0x1000000, "uintr": 0x2000000, "lass": 0x8000000,
        "lam_sup": 0x10000000, "fred": 0x1_0000_0000,
    },
    "efer": {
        "sce": 0x1, "lme": 0x100, "lma": 0x400, "nxe": 0x800, "svme": 0x1000, "lmsle": 0x2000,
        "ffxsr": 0x4000, "tce": 0x8000, "mcommit": 0x20000, "intwb": 0x40000, "uaie": 0x100000,
        "aibrse": 0x200000,
    },
    "dr6": {
        "b0": 1, "b1": 2, "b2": 4, "b3": 8, "bld": 0x800, "bd": 0x2000, "bs": 0x4000,
        "bt": 0x8000, "rtm": 0x10000,
    },
    "dr7": {
        "l0": 0x1, "g0": 0x2, "l1": 0x4, "g1": 0x8, "l2": 0x10, "g2": 0x20, "l3": 0x40,
        "g3": 0x80, "le": 0x100, "ge": 0x200, "rtm": 0x800, "gd": 0x2000, "rw0": 0x3_0000,
        "len0": 0xC_0000, "rw1": 0x30_0000, "len1": 0xC0_0000, "rw2": 0x300_0000,
        "len2": 0xC00_0000, "rw3": 0x3000_0000, "len3": 0xC000_0000,
    },
}  # fmt: skip
AFTER_RESET = {"eflags": 0x2, "cr0": 0x6000_0010, "cr4": 0, "efer": 0, "dr6": 0xFFFF_0FF0}


@pytest.mark.parametrize("register", MASKS)
def test_masks(register: str) -> None:
    """Setting a mask sets its field to all ones and no other; every field has a mask."""
    assert set(decode_flags(register, 0).fields) == set(MASKS[register])
    for name, mask in MASKS[register].items():
        set_ones = {n: value for n, value in decode_flags(register, mask).fields.items() if value}
        assert set_ones == {name: mask // (mask & -mask)}


@pytest.mark.parametrize(("register", "raw"), AFTER_RESET.items())
def test_reserved_bits_after_reset(register: str, raw: int) -> None:
    """The values after a reset hold what the manual reserves."""
    assert decode_flags(register, raw).reserved == 0
    assert decode_flags(register, raw ^ 1 << 63).reserved == 1 << 63


def test_dr7_after_reset() -> None:
    """Bit 10 of DR7 reads as 1."""
    assert decode_flags("dr7", 0x400).reserved == 0
    assert decode_flags("dr7", 0).reserved == 0x400


@given(st.binary(min_size=8, max_size=8))
def test_hidden_part_of_any_descriptor(raw: bytes) -> None:
    """A register loaded from a descriptor agrees with it in every field."""
    memory = decode_descriptor(raw)
    if not isinstance(memory, Segment | SystemSegment):
        return
    flags = int.from_bytes(raw[4:], "little")
    hidden = SegmentRegister("ds", 0x10, memory.base, memory.last_byte, flags)
    assert hidden.differences(memory) == ()
    assert hidden.descriptor == memory
    assert hidden.dpl == memory.dpl
    changed = SegmentRegister(
        "ds", 0x10, memory.base ^ 0x8000_0000, memory.last_byte, flags ^ 0x4000
    )
    assert changed.differences(memory) == ("base", "dpl")
