"""What holds for every view, and the layout that they share."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg import views as views
from klosdbg.__main__ import main
from klosdbg.commands import collect
from klosdbg.models import ConsoleText, Decoded, Remark
from klosdbg.views import Style, columns, data, text
from klosdbg.views.base import printable, visible_length
from klosdbg.x86.control import Cr3
from klosdbg.x86.descriptor import decode_descriptor
from klosdbg.x86.findings import Finding
from klosdbg.x86.flags import LAYOUTS, decode_flags
from klosdbg.x86.paging import LEVELS, Mode
from klosdbg.x86.table import Entry, decode_table

WIDTH = 80
COLORED = Style(color=True)
ESCAPE = re.compile(r"\x1b\[\d+m")


def test_every_model_has_both_views() -> None:
    """What has a text has a document, and the other way round."""
    assert set(text.registry) == set(data.registry)


def test_a_model_without_a_view_is_a_bug() -> None:
    """It says which."""
    with pytest.raises(TypeError, match="no text view for set"):
        text(set(), Style())
    with pytest.raises(TypeError, match="no data view for set"):
        data(set(), Style())


@given(st.binary(min_size=8, max_size=8))
def test_any_descriptor_can_be_shown(raw: bytes) -> None:
    """Text fits, JSON is JSON, colour changes no layout."""
    check(Entry(0, decode_descriptor(raw)))


@given(st.binary(max_size=128), st.sampled_from(["gdt", "ldt", "idt"]), st.integers(0, 0xFFFF))
def test_any_table_can_be_shown(raw: bytes, kind: str, limit: int) -> None:
    """Short, long and full of nonsense."""
    check(decode_table(kind, 0xC0190000, limit, [(0xC0190000, raw)]))  # type: ignore[arg-type]


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 2**64 - 1))
def test_any_flags_can_be_shown(register: str, raw: int) -> None:
    """Reserved bits included."""
    check(decode_flags(register, raw))


@given(st.integers(0, 2**64 - 1), st.sampled_from([None, *LEVELS]), st.booleans())
def test_any_cr3_can_be_shown(raw: int, mode: Mode | None, pcide: bool) -> None:
    """Whatever the paging mode is."""
    check(Cr3(raw, mode, pcide))


def check(model: object) -> None:
    shown = text(model, Style())
    assert all(len(line) <= WIDTH for line in shown.splitlines())
    assert ESCAPE.sub("", text(model, COLORED)) == shown
    document = data(model, Style())
    assert str(document["schema"]).startswith("klosdbg/")
    assert list(wide_numbers(json.loads(json.dumps(document)))) == []


def wide_numbers(value: object) -> Iterator[int]:
    """Yield the numbers that a reader with 53-bit integers would spoil."""
    if isinstance(value, dict):
        for part in value.values():
            yield from wide_numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from wide_numbers(part)
    elif isinstance(value, int) and abs(value) >= 1 << 53:
        yield value


@given(st.binary())
def test_guest_bytes_cannot_drive_the_terminal(raw: bytes) -> None:
    """No control character survives but newline and tab."""
    assert all(c in "\n\t" or c.isprintable() for c in printable(raw))
    assert "\x1b" not in text(ConsoleText(raw), COLORED)


def test_columns() -> None:
    """Colour does not disturb them; a last cell runs on; numbers stand to the right."""
    rows = [("a", "1", "x"), (COLORED.paint("red", "long"), "22", "a long last cell")]
    lines = columns(rows, indent="> ", right="lr").split("\n")
    assert ESCAPE.sub("", lines[1]) == "> long  22  a long last cell"
    assert lines[0] == "> a      1  x"
    assert visible_length(COLORED.paint("bold", "four")) == 4
    assert COLORED.paint("red", "") == ""
    assert columns([]) == ""


def test_addresses_have_their_symbol() -> None:
    """Where one is known."""
    named = Style(lambda address: "start" if address == 0x1000 else None)
    assert named.address(0x1000) == "0x00001000 <start>"
    assert named.address(0x1001) == "0x00001001"


def test_findings_stand_under_what_they_are_about() -> None:
    """Wrapped, each with its rule."""
    found = Finding("no-such-rule", "warning", "descriptor", "a sentence " * 12)
    decoded = Decoded(decode_flags("cr0", 0), "number", (found,), reading="a number")
    shown = text(decoded, Style())
    assert shown.startswith("read as a number\n")
    assert "[no-such-rule]" in shown
    check(decoded)


def test_a_remark_is_itself() -> None:
    """``echo`` without words is an empty line."""
    assert text(Remark("what follows"), Style()) == "what follows"
    assert text(Remark(""), Style()).strip() == ""
    check(Remark("x"))


@pytest.mark.parametrize("line", ["decode descriptor 0x00cffb000000ffff", "decode cr0 0xffffffff"])
def test_no_colour_without_a_terminal(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets plain text."""
    assert main(line.split()) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_overview_names_every_command() -> None:
    """``help`` forgets none, and fits."""
    listed = collect()["help"].run(None, collect()["help"].parse([]))  # type: ignore[arg-type]
    lines = text(listed, Style()).splitlines()
    names = {command.name for command in collect().values()}
    shown = {line[2:].split("  ")[0].strip() for line in lines if line.startswith("  ")}
    assert names <= shown
    assert max(map(len, lines)) <= WIDTH
