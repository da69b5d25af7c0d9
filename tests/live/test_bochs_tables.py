"""klosdbg's tables of KLOS under QEMU, and Bochs' own of the same image, seed and place."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from klosdbg.x86.flags import decode_flags
from tests import bochs
from tests.bochs_text import (
    parse_bits,
    parse_info_gdt,
    parse_info_idt,
    parse_info_ldt,
    parse_info_tss,
)
from tests.build import make
from tests.live.tiny import needs_qemu

GUEST = Path(__file__).parents[2] / "guest"
IMAGE = GUEST / "build" / "klos.elf"
SEED = "seed=7"
MEGABYTES = 64
WHY_NOT = bochs.available()

pytestmark = [
    pytest.mark.bochs,
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.xdist_group("bochs"),
]

Document = dict[str, Any]
# What Bochs calls differently.
_BITS = {
    "ac": "am", "keylock": "kl", "pcid": "pcide", "vmx": "vmxe", "smx": "smxe",
}  # fmt: skip
_RENAMED = {"scaled_limit": "last_byte", "length": "last_byte"}


@pytest.fixture(scope="module")
def ours() -> dict[str, Document]:
    make(GUEST)
    line = [sys.executable, "-m", "klosdbg", "run", "--headless", "--json", "--append", SEED]
    for command in ("until klos_ready", "gdt --all", "ldt --all", "idt --all", "tss", "regs", "cr"):
        line += ["-c", command]
    ran = subprocess.run([*line, "--", "-m", str(MEGABYTES)], capture_output=True, check=True)
    documents = [json.loads(row) for row in ran.stdout.splitlines()]
    return {document["schema"].split("/")[1]: document for document in documents}


@pytest.fixture(scope="module")
def theirs(ours: dict[str, Document], tmp_path_factory: pytest.TempPathFactory) -> bochs.Stop:
    iso = bochs.build_iso(IMAGE, tmp_path_factory.mktemp("klos"), SEED)
    tables = [ours["gdt"], ours["ldt"], ours["idt"], ours["tss"]]
    dumps = [(table["base"], table["limit"] + 1) for table in tables]
    commands = ["info gdt 0 8191", "info ldt 0 8191", "info idt 0 255", "info tss", "creg", "dreg"]
    ready = ours["stop"]["linear"]
    return bochs.stop_at(iso, ready, commands, dumps, megabytes=MEGABYTES)


def differences(table: Document, printed: Document) -> list[tuple[int, str, object, object]]:
    """Compare every field that Bochs prints of every entry."""
    return [
        (entry["index"], name, entry.get(_RENAMED.get(name, name)), value)
        for entry in table["entries"]
        for name, value in printed["entries"][entry["index"]].items()
        if name != "raw" and entry.get(_RENAMED.get(name, name)) != value
    ]


@pytest.mark.parametrize(
    ("kind", "command", "parse", "slots"),
    [
        ("gdt", "info gdt 0 8191", parse_info_gdt, 8192),
        ("ldt", "info ldt 0 8191", parse_info_ldt, 8192),
        ("idt", "info idt 0 255", parse_info_idt, 256),
    ],
)
def test_every_printed_field_agrees(
    ours: dict[str, Document], theirs: bochs.Stop, kind: str, command: str, parse: Any, slots: int
) -> None:
    printed = parse(theirs.outputs[command])
    assert len(ours[kind]["entries"]) == len(printed["entries"]) == slots
    assert (ours[kind]["base"], ours[kind]["limit"]) == (printed["base"], printed["limit"])
    assert differences(ours[kind], printed) == []


@pytest.mark.parametrize(("kind", "number"), [("gdt", 0), ("ldt", 1), ("idt", 2)])
def test_the_raw_bytes_agree(
    ours: dict[str, Document], theirs: bochs.Stop, kind: str, number: int
) -> None:
    raw = b"".join(int(e["raw"], 16).to_bytes(8, "little") for e in ours[kind]["entries"])
    assert raw == theirs.memory[number]


def test_the_tss_agrees(ours: dict[str, Document], theirs: bochs.Stop) -> None:
    printed = parse_info_tss(theirs.outputs["info tss"])
    assert printed.pop("selector") == ours["regs"]["segments"]["tr"]["selector"]
    assert printed.pop("valid") == 1
    assert {name: ours["tss"][name] for name in printed} == printed
    assert len(printed) > 20


def test_the_bitmap_agrees(ours: dict[str, Document], theirs: bochs.Stop) -> None:
    """The ports that klosdbg calls allowed are those whose bit is 0 in Bochs' memory."""
    bitmap = theirs.memory[3][ours["tss"]["iomap_base"] :]
    opened = [p for p in range(0x10000) if not bitmap[p // 8] >> p % 8 & 1]
    assert [p for first, last in ours["tss"]["ports"] for p in range(first, last + 1)] == opened
    assert len(bitmap) == 0x2001
    assert bitmap[-1] == 0xFF


def test_the_control_registers_agree(ours: dict[str, Document], theirs: bochs.Stop) -> None:
    """Each bit that Bochs names is klosdbg's of that name, and stands in the same order."""
    printed = parse_bits(theirs.outputs["creg"] + theirs.outputs["dreg"])
    shown = {document["register"]: document for document in ours["cr"]["registers"]}
    assert set(printed) == {"cr0", "cr4", "efer", "dr6", "dr7"}
    for register, (raw, named) in printed.items():
        bits = {_BITS.get(name, name): value for name, value in named.items()}
        flags = decode_flags(register, raw)
        places = {field.name: field.low for field in flags.layout.fields}
        assert [*bits] == sorted(bits, key=places.__getitem__, reverse=True)
        assert bits == {name: flags.fields[name] for name in bits}
        assert (int(shown[register]["raw"], 16), shown[register]["reserved"]) == (raw, "0x0")
        assert bits == {name: shown[register][name] for name in bits}
    assert sum(len(named) for _, named in printed.values()) > 50


def test_a_wrong_field_would_be_seen(ours: dict[str, Document], theirs: bochs.Stop) -> None:
    """The comparison itself can fail."""
    printed = parse_info_gdt(theirs.outputs["info gdt 0 8191"])
    printed["entries"][4]["scaled_limit"] ^= 0x1000
    assert [at[:2] for at in differences(ours["gdt"], printed)] == [(4, "scaled_limit")]
