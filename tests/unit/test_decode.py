"""``klosdbg decode`` from the command line: what it prints, and how bad input ends."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from klosdbg.__main__ import main
from klosdbg.errors import KlosdbgError
from klosdbg.frontend import Frontend
from klosdbg.session import Session
from tests.encode import encode_descriptor

REGISTERS = """\
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
EIP=00100000 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
CS =0008 00000000 ffffffff 00cf9a00 DPL=0 CS32 [-R-]
SS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
GDT=     00101000 0000001f
IDT=     00102000 000007ff
CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000
"""
FLAT = "00 00 00 00 00 00 00 00 ff ff 00 00 00 9a cf 00"
KINDS = {
    "descriptor": ["0x00cffb000000ffff"],
    "gate": ["0x00008e0000080000"],
    "gdt": FLAT.split(),
    "ldt": FLAT.split(),
    "idt": ["00000000 00008e00 12340008 00108e00"],
    "tss": ["--bytes", "00" * 104],
    "iobitmap": ["ff", "00", "ff"],
    "selector": ["0x1b"],
    "errorcode": ["0x13b"],
    "pte": ["0x83", "--level", "pde"],
    "address": ["0xffff888058a67000"],
    "eflags": ["0x246"],
    "cr0": ["0x80000011"],
    "cr3": ["0x204018"],
    "cr4": ["0x6f0"],
    "efer": ["0xd00"],
    "dr6": ["0xffff4ff0"],
    "dr7": ["0x000e0403"],
}


def decode(*words: str) -> str:
    out = io.StringIO()
    Frontend(Session(), out).run_words(["decode", *words])
    return out.getvalue()


def documents(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in decode(*words, "--json").splitlines()]


def refusal(*words: str) -> str:
    with pytest.raises(KlosdbgError) as caught:
        decode(*words)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str) -> None:
    """Each kind has a text of at most 80 columns, and a document with its schema and order."""
    out = decode(kind, *KINDS[kind])
    assert out.startswith("read as ")
    assert max(map(len, out.splitlines())) <= 80
    (document,) = documents(kind, *KINDS[kind])
    assert document["schema"].startswith("klosdbg/")
    assert document["order"] in ("number", "memory")


def test_registers(tmp_path: Path) -> None:
    """A log with two dumps gives two documents; rows that it lacks are named."""
    log = tmp_path / "qemu.log"
    log.write_text(f"some line\n{REGISTERS}another line\n{REGISTERS}")
    first, second = documents("registers", "-f", str(log))
    assert first == second
    assert first["findings"][0]["text"].startswith("no ES, DS, FS, GS, LDT, TR, EFER")
    out = decode("registers", "-f", str(log))
    assert max(map(len, out.splitlines())) <= 80


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads standard input."""
    text = io.TextIOWrapper(io.BytesIO(b"0x1000: 0x001b 0x0023\n"))
    monkeypatch.setattr("sys.stdin", text)
    (first, second) = documents("selector", "-")
    assert (first["index"], second["index"]) == (3, 4)


def test_order() -> None:
    """The same descriptor as a number and as it lies in memory."""
    for words, order in (
        (["0x00cffb000000ffff"], "number"),
        (["0000ffff", "00cffb00"], "number"),
        (["ff", "ff", "00", "00", "00", "fb", "cf", "00"], "memory"),
        (["ffff000000fbcf00", "--bytes"], "memory"),
    ):
        (document,) = documents("descriptor", *words)
        assert document["order"] == order
        assert document["raw"] == "0x00cffb000000ffff"
        assert (document["kind"], document["dpl"]) == ("code", 3)


@pytest.mark.parametrize(
    ("raw", "bits"),
    [
        ("00cffb000000ffff", "32"),
        ("a5daf79187654321", "32"),
        ("00008b0000000067", "32"),
        ("1234ec6500081234", "32"),
        ("0000850000180000", "32"),
        ("123486ff00081234", "32"),
        ("0000880012345678", "32"),
        ("00000000ffff80000000890000000067", "64"),
        ("12345678000000010000890000000067", "64"),
        ("00000000ffff80000000ee0300080000", "64"),
    ],
)
def test_json_rebuilds_the_bytes(raw: str, bits: str) -> None:
    """Every bit of a descriptor is in its document, ``raw`` aside."""
    (document,) = documents("descriptor", f"0x{raw}", "--bits", bits)
    fields = {name: value for name, value in document.items() if name != "raw"}
    for name in ("base", "offset", "upper"):
        if isinstance(fields.get(name), str):
            fields[name] = int(fields[name], 16)
    assert encode_descriptor(fields, len(raw) // 2) == int(raw, 16).to_bytes(
        len(raw) // 2, "little"
    )


def test_table() -> None:
    """A table keeps its limit; a limit past the input leaves entries out."""
    (table,) = documents("gdt", *FLAT.split())
    assert (table["limit"], [e["kind"] for e in table["entries"]]) == (15, ["empty", "code"])
    (longer,) = documents("gdt", *FLAT.split(), "--limit", "0x1f")
    assert (longer["limit"], [e["kind"] for e in longer["entries"]]) == (31, ["empty", "code"])
    (shorter,) = documents("gdt", *FLAT.split(), "--limit", "7")
    assert [e["kind"] for e in shorter["entries"]] == ["empty"]


def test_vectors_as_people_write_them() -> None:
    """By name, by number, as an assembler's."""
    for word in ("13", "0xd", "0dh", "GP", "#gp"):
        (code,) = documents("errorcode", "0x10", "--vector", word)
        assert code["vector"] == 13


def test_values() -> None:
    """Options reach the decoders."""
    (code,) = documents("errorcode", "7", "--vector", "PF")
    assert (code["form"], code["p"], code["w"], code["u"]) == ("page-fault", 1, 1, 1)
    (entry,) = documents("pte", "0x8000000000200083", "--mode", "pae", "--level", "2")
    assert (entry["page_size"], entry["address"], entry["nx"]) == (1 << 21, "0x200000", True)
    (tss,) = documents("tss", "--bytes", "00" * 44, "--bits", "16")
    assert tss["schema"] == "klosdbg/tss/1"
    (flags,) = documents("eflags", "0x3202")
    assert (flags["iopl"], flags["if"], flags["reserved"]) == (3, 1, "0x0")
    (cr3,) = documents("cr3", "0x204fe0", "--mode", "pae")
    assert (cr3["mode"], cr3["base"], "pwt" in cr3) == ("PAE", "0x204fe0", False)
    (cr3,) = documents("cr3", "0x2000000000204018", "--bits", "64")
    assert (cr3["base"], cr3["pwt"], cr3["pcd"], cr3["lam_u57"]) == ("0x204000", 1, 1, 1)
    (cr0,) = documents("cr0", "0x80000010")
    assert [found["rule"] for found in cr0["findings"]] == ["pg-without-pe"]


@pytest.mark.parametrize(
    ("words", "base", "rules"),
    [
        (["0x7d3eb40"], "0x7d3e000", ["cr3-ignored"]),
        (["0x7d3eb40", "--mode", "PAE"], "0x7d3eb40", []),
        (["40", "eb", "d3", "07", "--mode", "PAE"], "0x7d3eb40", []),
        (["0x101018"], "0x101000", []),
        (["0x101018", "--mode", "PAE"], "0x101000", ["cr3-ignored"]),
        (["0x101ffe", "--bits", "64"], "0x101000", []),
        (["0x8000000000101000"], "0x101000", ["cr3-no-flush"]),
        (["0x6000000000101000", "--mode", "5-level"], "0x101000", []),
        (["0x1000000000101000"], "0x101000", ["cr3-reserved"]),
        (["0x4000101000", "--maxphyaddr", "38"], "0x4000101000", ["cr3-reserved"]),
        (["0x4000101000", "--maxphyaddr", "39"], "0x4000101000", []),
    ],
)
def test_cr3(words: list[str], base: str, rules: list[str]) -> None:
    """Each mode aligns, ignores and reserves its own bits."""
    (document,) = documents("cr3", *words)
    assert document["base"] == base
    assert [found["rule"] for found in document["findings"]] == rules


@pytest.mark.parametrize(
    ("words", "indices", "offsets"),
    [
        (["0xc0101234"], [768, 257], [0x234, 0x101234]),
        (["0xc0101234", "--mode", "32-bit"], [768, 257], [0x234]),
        (["0xffe01fff", "--mode", "PAE"], [3, 511, 1], [0xFFF, 0x1FFF]),
        (["7fffffffefff"], [255, 511, 511, 510], [0xFFF, 0x1FEFFF, 0x3FFFEFFF]),
        (["0x1000", "--bits", "64"], [0, 0, 0, 1], [0, 0x1000, 0x1000]),
    ],
)
def test_addresses(words: list[str], indices: list[int], offsets: list[int]) -> None:
    """Indices from the root down, the offset into each size of page."""
    (document,) = documents("address", *words)
    assert [level["index"] for level in document["indices"]] == indices
    assert [page["offset"] for page in document["offsets"]] == offsets
    assert document["findings"] == []


def test_addresses_that_are_not_canonical() -> None:
    """Said whatever the mode; the address may still be one of another mode."""
    for words, mode, severities in (
        (["0x0000800000000000"], "5-level", ["warning"]),
        (["0x0000800000000000", "--mode", "4-level"], "4-level", ["error"]),
        (["0x0000800000000000", "--mode", "5-level"], "5-level", []),
        (["0x8000000000000000"], "4-level", ["error"]),
        (["0x0100000000000000", "--mode", "5-level"], "5-level", ["error"]),
    ):
        (document,) = documents("address", *words)
        assert document["mode"] == mode
        assert [found["severity"] for found in document["findings"]] == severities


def test_numbers_that_may_be_decimal() -> None:
    """Said of an error code or a selector that nothing shows to be hexadecimal."""
    for word, rules in (("16", ["decimal"]), ("0010", []), ("0x16", []), ("6", []), ("1b", [])):
        for kind in ("selector", "errorcode"):
            (document,) = documents(kind, word)
            assert [found["rule"] for found in document["findings"]] == rules


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing", "0"],
        ["descriptor"],
        ["descriptor", ""],
        ["descriptor", "xyz"],
        ["descriptor", "ff", "f"],
        ["descriptor", "fff", "--bytes"],
        ["descriptor", "ff", "ff"],
        ["descriptor", "0x1ffffffffffffffff"],
        ["descriptor", "0x" + "f" * 5000],
        ["descriptor", "0x0000890000000067", "--bits", "48"],
        ["descriptor", "67", "00", "00", "00", "00", "89", "00", "00", "--bits", "64"],
        ["gate", "0x0", "--unknown"],
        ["selector", "0x12345"],
        ["pte", "0x100000000"],
        ["pte", "0", "--level", "3"],
        ["pte", "0", "--mode", "odd"],
        ["pte", "0", "--maxphyaddr", "53"],
        ["cr3", "0", "--maxphyaddr", "ten"],
        ["address", "0x1c0101234", "--mode", "PAE"],
        ["address", "0x10000000000000000"],
        ["errorcode", "0", "--vector", "256"],
        ["gdt", "0", "--limit", "-1"],
        ["gdt", "0", "--limit", "0x10000"],
        ["descriptor", "-0f\nG"],
        ["gdt", "0", "-f", "x"],
        ["registers", "EAX=0"],
    ],
    ids=" ".join,
)
def test_bad_words(words: list[str]) -> None:
    """Wrong usage is one line on standard error, and exit code 2."""
    assert refusal(*words)


@pytest.mark.parametrize("kind", ["gdt", "registers"])
def test_bad_files(tmp_path: Path, kind: str) -> None:
    """A file that cannot be read, or holds no text, is one line, and exit code 2."""
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "huge").write_bytes(b"ff " * 1_000_000)
    (tmp_path / "empty").touch()
    for name in ("missing", ".", "binary", "huge", "empty"):
        assert refusal(kind, "-f", str(tmp_path / name))


def test_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The shell sees one line on standard error, and 2."""
    assert main(["decode", "descriptor", "xyz"]) == 2
    assert capsys.readouterr().err == "klosdbg: 'xyz' is not hexadecimal\n"
    assert main(["decode", "descriptor", "ff", "--bogus"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
