"""Decoders against gcc: C bit-fields, laid out by the compiler and read back from the ELF file."""

import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from klosdbg.x86.descriptor import Gate, Segment, SystemSegment, decode_descriptor
from klosdbg.x86.paging import decode_pte
from klosdbg.x86.tss import decode_tss

Values = Mapping[str, int]

SEGMENT = {
    "limit_low": 16, "base_low": 24, "type": 4, "s": 1, "dpl": 2, "present": 1,
    "limit_high": 4, "avl": 1, "l": 1, "db": 1, "g": 1, "base_high": 8,
}  # fmt: skip
GATE = {
    "offset_low": 16, "target_selector": 16, "low5": 5, "high3": 3, "type": 4, "s": 1,
    "dpl": 2, "present": 1, "offset_high": 16,
}  # fmt: skip
PTE = {
    "present": 1, "writable": 1, "user": 1, "pwt": 1, "pcd": 1, "accessed": 1, "dirty": 1,
    "bit7": 1, "global_": 1, "avl": 3, "frame": 20,
}  # fmt: skip
TSS = {
    "back_link": 16, "r0": 16, "esp0": 32, "ss0": 16, "r1": 16, "esp1": 32, "ss1": 16, "r2": 16,
    "esp2": 32, "ss2": 16, "r3": 16, "cr3": 32, "eip": 32, "eflags": 32, "eax": 32, "ecx": 32,
    "edx": 32, "ebx": 32, "esp": 32, "ebp": 32, "esi": 32, "edi": 32, "es": 16, "r4": 16,
    "cs": 16, "r5": 16, "ss": 16, "r6": 16, "ds": 16, "r7": 16, "fs": 16, "r8": 16, "gs": 16,
    "r9": 16, "ldt": 16, "r10": 16, "t": 1, "r11": 15, "iomap_base": 16,
}  # fmt: skip


def compile_values(tmp_path: Path, layout: Values, rows: Sequence[Values]) -> list[bytes]:
    """Let gcc lay the rows out as packed bit-fields, and cut its ``.data`` into structures."""
    fields = " ".join(f"unsigned {name} : {width};" for name, width in layout.items())
    values = ",\n".join(
        "{" + ", ".join(f".{name} = {value}u" for name, value in row.items()) + "}" for row in rows
    )
    source = tmp_path / "values.c"
    source.write_text(f"struct __attribute__((packed)) s {{ {fields} }} rows[] = {{ {values} }};\n")
    subprocess.run(
        ["gcc", "-m32", "-std=c11", "-c", "-o", tmp_path / "values.o", source], check=True
    )
    with (tmp_path / "values.o").open("rb") as file:
        raw = ELFFile(file).get_section_by_name(".data").data()
    size = sum(layout.values()) // 8
    return [raw[i : i + size] for i in range(0, size * len(rows), size)]


def random_rows(layout: Values, fixed: Values, count: int = 64) -> list[dict[str, int]]:
    chance = random.Random(32)
    rows = [{name: chance.getrandbits(n) for name, n in layout.items()} for _ in range(count)]
    return [{**row, **fixed} for row in rows]


def test_segments(tmp_path: Path) -> None:
    """Code and data segments."""
    rows = random_rows(SEGMENT, {"s": 1})
    for row, raw in zip(rows, compile_values(tmp_path, SEGMENT, rows), strict=True):
        segment = decode_descriptor(raw)
        assert isinstance(segment, Segment)
        assert segment.base == row["base_high"] << 24 | row["base_low"]
        assert segment.limit == row["limit_high"] << 16 | row["limit_low"]
        for name in ("type", "dpl", "present", "avl", "l", "db", "g"):
            assert getattr(segment, name) == row[name], name


@pytest.mark.parametrize(("kind", "type_"), [("tss32", 9), ("tss16", 3), ("ldt", 2)])
def test_system_segments(tmp_path: Path, kind: str, type_: int) -> None:
    """LDT and TSS descriptors."""
    rows = random_rows(SEGMENT, {"s": 0, "type": type_})
    for row, raw in zip(rows, compile_values(tmp_path, SEGMENT, rows), strict=True):
        system = decode_descriptor(raw)
        assert isinstance(system, SystemSegment)
        assert system.kind == kind
        assert system.base == row["base_high"] << 24 | row["base_low"]
        assert (
            system.last_byte
            == ((row["limit_high"] << 16 | row["limit_low"]) + 1) * (4096 if row["g"] else 1) - 1
        )


@pytest.mark.parametrize(("kind", "type_"), [("call-gate", 12), ("trap-gate", 15)])
def test_gates(tmp_path: Path, kind: str, type_: int) -> None:
    """Call gates with their parameter counts, and trap gates."""
    rows = random_rows(GATE, {"s": 0, "type": type_})
    for row, raw in zip(rows, compile_values(tmp_path, GATE, rows), strict=True):
        gate = decode_descriptor(raw)
        assert isinstance(gate, Gate)
        assert gate.kind == kind
        assert gate.offset == row["offset_high"] << 16 | row["offset_low"]
        assert gate.params == (row["low5"] if kind == "call-gate" else 0)
        for name in ("target_selector", "low5", "high3", "dpl", "present"):
            assert getattr(gate, name) == row[name], name


def test_page_entries(tmp_path: Path) -> None:
    """32-bit page-table entries."""
    rows = random_rows(PTE, {})
    for row, raw in zip(rows, compile_values(tmp_path, PTE, rows), strict=True):
        entry = decode_pte(int.from_bytes(raw, "little"), "32-bit")
        assert entry.address == row["frame"] << 12
        for name in PTE:
            if name != "frame":
                assert getattr(entry, name) == row[name], name


def test_tss(tmp_path: Path) -> None:
    """32-bit task-state segments."""
    rows = random_rows(TSS, {}, 8)
    for row, raw in zip(rows, compile_values(tmp_path, TSS, rows), strict=True):
        assert len(raw) == 104
        tss = decode_tss(raw, 32, 0x67)
        assert {name: row[name] for name in tss.fields} == tss.fields
