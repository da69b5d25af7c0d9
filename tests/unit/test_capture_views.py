"""What is shown of captures: whole values, in lines that fit."""

import pytest
from klosdbg.captures.difference import _tables
from klosdbg.captures.models import (
    CaptureNote,
    CaptureSummary,
    Difference,
    Expectation,
    FieldChange,
)
from klosdbg.views import Style, text
from klosdbg.x86.table import decode_table

WIDTH = 80
LONG = ", ".join(f"{port:#x}-{port + 8:#x}" for port in range(0, 0x800, 0x40))


@pytest.mark.parametrize(
    ("where", "field", "before", "after", "shown"),
    [
        ("registers", "ebx", 0x9500, 2, ("0x9500", "0x2")),
        ("registers", "hlt", 0, 1, ("0", "1")),
        ("klos", "event_count", 21, 41, ("21", "41")),
        ("klos", "current_thread", 0, 0xC0295618, ("0x0", "0xc0295618")),
        ("idt[0xc]", "bits", 16, 32, ("16", "32")),
        ("tss", "ports", "none", LONG, ("none", LONG)),
        ("gdt[0x3]", "readable", None, True, ("(none)", "yes")),
    ],
)
def test_one_field_has_one_base(
    where: str, field: str, before: int | str, after: int, shown: tuple[str, str]
) -> None:
    """Neither number is decimal where the other is not."""
    assert FieldChange(where, field, before, after).shown == shown


def test_values_are_shown_whole() -> None:
    """What is too long for a line is broken, and nothing of it is lost."""
    entry = "tss32, dpl 0, base 0xff800f98, limit 0x2068"
    changes = (
        FieldChange("gdt[0x5]", "entry", None, entry),
        FieldChange("tss", "ports", LONG, f"0x80, {LONG}"),
        FieldChange("handler_table[0x20]", "handler", 0xC0101000, 0xC0102000),
    )
    style = Style(symbol=lambda address: f"at_{address & 0xFFFF:x}")
    shown = text(Difference("snapshot 1", "now", changes, ("tss", "klos") * 9), style)
    lines = shown.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert f"  entry  (none)  -> {entry}" in lines
    assert " ".join(shown.split()).count(LONG) == 2
    assert "  handler  0xc0101000 <at_1000>  -> 0xc0102000 <at_2000>" in lines


def test_entries_of_a_table_are_in_order() -> None:
    """Those that were edited stand among those that came and went."""
    gate, other, data = 0x00008E0000081000, 0x00008E0000082000, 0x00CFF3000000FFFF
    tables = [
        decode_table("gdt", 0, 31, [(0, b"".join(raw.to_bytes(8, "little") for raw in raws))])
        for raws in ((0, data, gate, gate), (0, gate, other, data))
    ]
    sides = iter(tables)
    changes = _tables(lambda _target: next(sides))(None, None)  # type: ignore[arg-type]
    assert [change.where for change in changes] == ["gdt[0x1]", "gdt[0x2]", "gdt[0x3]"]


def test_an_expectation_is_shown_whole() -> None:
    """However long it is."""
    words = " and ".join(f"eax == {n}" for n in range(20))
    shown = text(Expectation(words, held=True), Style())
    assert all(len(line) <= WIDTH for line in shown.splitlines())
    assert " ".join(shown.split()) == f"held: {words}"


def test_a_capture_is_described_whole() -> None:
    """Notes, the command line and damage take as many lines as they need."""
    words = " ".join(f"word{n}" for n in range(40))
    summary = CaptureSummary(
        name="bug.klos",
        facts={"qemu": "7.2", "command": words},
        events=1,
        relocations=0,
        snapshots=1,
        notes=(CaptureNote("note", words, 0.5),),
        damage=words,
    )
    for style in (Style(), Style(color=True)):
        shown = text(summary, style)
        assert " ".join(shown.split()).count(words) == 3
    assert all(len(line) <= WIDTH for line in text(summary, Style()).splitlines())
