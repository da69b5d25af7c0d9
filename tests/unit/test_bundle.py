"""The capture bundle: what goes in comes out, and nothing that comes out is trusted."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from klosdbg.captures.opened import Opened, snapshot_target
from klosdbg.captures.writer import CaptureWriter
from klosdbg.errors import CommandError, DataError
from klosdbg.targets.capture import open_capture
from klosdbg.wire import bundle_zip
from klosdbg.wire.bundle import (
    CONSOLE,
    EVENTS,
    MANIFEST,
    NOTES,
    VERSIONS,
    Manifest,
    Snapshot,
    StoredRange,
    decode_manifest,
    decode_places,
    encode_line,
    encode_manifest,
    encode_places,
)
from klosdbg.wire.bundle_read import Bundle, open_bundle
from klosdbg.wire.bundle_zip import zip_members
from klosdbg.wire.cpujson import decode_cpu, encode_cpu
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu, SegmentRegister, TableRegister

T = TypeVar("T")
CPU = Cpu(
    gpr={name: i << 28 | 0xABC for i, name in enumerate(GPR32)},
    eip=0xC0101000,
    eflags=0x202,
    cpl=3,
    segments={
        name: SegmentRegister(name, i << 3 | 3, 0x1000 * i, 0xFFFF_FFFF, 0x00CFFB00)
        for i, name in enumerate((*SEGMENTS, "ldtr", "tr"))
    },
    gdtr=TableRegister(0xC0190000, 0xFFFF),
    idtr=TableRegister(0xC01B0000, 0x7FF),
    cr0=0x8000_0011,
    cr2=0,
    cr3=0x204000,
    cr4=0x10,
    dr={6: 0xFFFF_0FF0, 7: 0x400},
)
PAGE = bytes(range(256)) * 16


def snapshot(number: int, last: bytes = b"\x01" * 4096) -> Snapshot:
    """Make a snapshot of three pages: one page twice, and one of its own."""
    linear = {0x1000: PAGE, 0x2000: PAGE, 0x9000: last}
    return Snapshot(number, f"why {number}", number / 2, number, CPU, linear, {0x5000: PAGE})


def record(path: Path, lines: int = 3) -> CaptureWriter:
    """Record lines, a console and two snapshots."""
    recording = CaptureWriter(path, Manifest(klosdbg="1", command_line=("klosdbg", "run")))
    recording.snapshot(snapshot(1))
    for number in range(lines):
        recording.line(EVENTS, {"seq": number})
    recording.line(NOTES, {"kind": "note", "text": "ünder", "seconds": 0.5})
    recording.append(CONSOLE, b"hello\n")
    recording.snapshot(snapshot(2, b"\x02" * 4096))
    return recording


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a finished capture."""
    path = tmp_path_factory.mktemp("packed") / "bug.klos"
    return record(path).finish({}, "stopped").read_bytes()


def opened(raw: bytes) -> Bundle:
    """Open a capture out of bytes."""
    return open_bundle(zip_members(io.BytesIO(raw)))


def sound_or_refused(action: Callable[[], T]) -> T | None:
    """Do something; None where it is refused, which takes one line."""
    try:
        return action()
    except DataError as error:
        line = str(error)
    assert "\n" not in line
    return None


def rezip(raw: bytes, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> bytes:
    """Write a zip anew, each member through ``change``."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            change(new, name, old.read(name))
    return written.getvalue()


def test_what_goes_in_comes_out(packed: bytes) -> None:
    """Lines, console, registers and memory are what was recorded, and nothing is damaged."""
    bundle = opened(packed)
    assert [line["seq"] for line in bundle.lines(EVENTS)] == [0, 1, 2]
    assert bundle.console == b"hello\n"
    assert bundle.manifest.command_line == ("klosdbg", "run")
    assert bundle.manifest.ended == "stopped"
    assert bundle.damage_line() == ""
    target = snapshot_target(bundle.snapshot(bundle.heads[1]), "bug")
    assert target.registers.read() == CPU
    assert target.linear.read(0x1FFF, 2) == PAGE[-1:] + PAGE[:1]
    assert target.linear.read_many([(0x9000, 4), (0x3000, 1), (0x2FFF, 2)]) == [
        b"\2\2\2\2",
        None,
        None,
    ]
    assert target.physical
    assert target.physical.read(0x5001, 3) == PAGE[1:4]
    assert target.control is target.linear_writer is target.register_writer is None


def test_differences_are_stored_once(packed: bytes) -> None:
    """A page that is there already, in this snapshot or another, takes no room again."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        sizes = [archive.getinfo(f"snapshots/00{n}/memory.bin").file_size for n in (1, 2)]
    assert sizes == [8192, 4096]


def test_a_recording_that_was_not_finished(tmp_path: Path) -> None:
    """Its directory opens under the name that the file would have; half a line costs that line."""
    recording = record(tmp_path / "bug.klos")
    with (recording.directory / EVENTS).open("ab") as file:
        file.write(b'{"seq":3')
    bundle = open_capture(tmp_path / "bug.klos")
    assert [line["seq"] for line in bundle.lines(EVENTS)] == [0, 1, 2]
    assert len(bundle.heads) == 2
    assert bundle.damage_line() == (
        "the recording was not finished; events.jsonl: line 4 is incomplete"
    )


def test_no_capture_is_overwritten(tmp_path: Path) -> None:
    """Neither a finished one nor one that was not finished."""
    first = record(tmp_path / "bug.klos")
    with pytest.raises(CommandError, match="unfinished recording: choose another name"):
        record(tmp_path / "bug.klos")
    first.finish({}, "stopped")
    with pytest.raises(CommandError, match="exists: choose another name"):
        record(tmp_path / "bug.klos")
    with pytest.raises(CommandError, match=r"cannot record to .*: no such file or directory"):
        record(tmp_path / "nowhere" / "bug.klos")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (EVENTS, "events.jsonl does not match its hash and is left out"),
        ("snapshots/001/memory.bin", "memory.bin does not match its hash"),
    ],
)
def test_a_wrong_hash_costs_the_member(packed: bytes, name: str, damage: str) -> None:
    """What was changed after the recording is left out, and named."""

    def change(new: zipfile.ZipFile, member: str, raw: bytes) -> None:
        new.writestr(member, raw[:-1] + b"?" if member == name else raw)

    bundle = opened(rezip(packed, change))
    assert damage in bundle.damage_line()
    assert not list(bundle.lines(EVENTS)) or name != EVENTS
    target = snapshot_target(bundle.snapshot(bundle.heads[1]), "bug")
    assert target.linear.read(0x9000, 1) == b"\2"
    assert (target.linear.read_many([(0x1000, 1)])[0] is None) == (name != EVENTS)


def test_every_cut_opens_as_far_as_sound_or_is_refused(packed: bytes) -> None:
    """A zip that ends early gives a prefix of its lines, and says that it is cut short."""
    sound = 0
    for end in range(0, len(packed), 37):
        bundle = sound_or_refused(lambda end=end: opened(packed[:end]))
        if bundle is None:
            continue
        sound += 1
        seqs = [line["seq"] for line in bundle.lines(EVENTS)]
        assert seqs == [0, 1, 2][: len(seqs)]
        for head in bundle.heads:
            read_or_refuse(bundle, head)
        assert "cut short" in bundle.damage_line()
    assert sound > 10


def read_or_refuse(bundle: Bundle, head: dict[str, object]) -> None:
    """Read a snapshot; what cannot be read says so in one line."""
    snapshot = sound_or_refused(lambda: bundle.snapshot(head))
    if snapshot is not None:
        snapshot_target(snapshot, "bug").linear.read_many([(0x1000, 16)])


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_bundles(packed: bytes, data: st.DataObject) -> None:
    """Whatever bytes are changed, cut out or put in: one line, or what is sound."""
    raw = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    bundle = sound_or_refused(lambda: opened(bytes(raw)))
    if bundle is not None:
        assert Opened("bug", bundle).events == []
        sound_or_refused(bundle.symbols)
        for head in bundle.heads:
            read_or_refuse(bundle, head)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_member(raw: bytes) -> None:
    """A member of any content, its hash right, is read or refused in one line."""
    recorded = {EVENTS: raw, "snapshots.jsonl": raw, "symbols.json": raw, "notes.jsonl": raw}
    written = io.BytesIO()
    members = {name: bundle_hash(content) for name, content in recorded.items()}
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(MANIFEST, encode_manifest(Manifest(members=members)))
        for name, content in recorded.items():
            archive.writestr(name, content)
    capture = Opened("bug", opened(written.getvalue()))
    assert (capture.events, capture.notes, len(capture.snapshots)) == ([], [], 0)


def bundle_hash(raw: bytes) -> str:
    """Hash a member."""
    from klosdbg.wire.bundle import digest

    return digest([raw])


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "C:\\x", "snapshots\\001"],
)
def test_a_path_escape_is_refused(packed: bytes, name: str) -> None:
    """A member whose name leads out of the capture refuses the whole of it."""
    written = io.BytesIO(packed)
    with zipfile.ZipFile(written, "a") as archive:
        archive.writestr(zipfile.ZipInfo("a-name-to-spoil!"), b"x")
    raw = written.getvalue().replace(b"a-name-to-spoil!", name.encode().ljust(16, b"/"))
    with pytest.raises(DataError, match=r"refused: its member .* leaves its directory"):
        opened(raw)


def test_an_unknown_member_is_named(packed: bytes) -> None:
    """What no capture has is left out."""
    written = io.BytesIO(packed)
    with zipfile.ZipFile(written, "a") as archive:
        archive.writestr("run-me.sh", b"x")
    bundle = opened(written.getvalue())
    assert bundle.damage_line() == "'run-me.sh' belongs to no capture"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(packed: bytes) -> None:
    """Which of the two was meant cannot be known."""
    written = io.BytesIO(packed)
    with zipfile.ZipFile(written, "a") as archive:
        archive.writestr(EVENTS, b"{}\n")
    with pytest.raises(DataError, match="twice"):
        opened(written.getvalue())


def test_too_many_members_are_refused_unread(packed: bytes) -> None:
    """The directory's own count refuses a zip of a million entries before one is read."""
    end = packed.rindex(b"PK\x05\x06")
    many = bytearray(packed)
    struct.pack_into("<2H", many, end + 8, 60000, 60000)
    with pytest.raises(DataError, match="more than 2000 members"):
        opened(bytes(many))
    big = packed[:end] + b"PK\x06\x07" + bytes(16) + packed[end:]
    with pytest.raises(DataError, match="more than 2000 members"):
        opened(big)


def test_a_zip_bomb_is_refused(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a capture says that it unpacks to, and what it does unpack to, are both bounded."""
    monkeypatch.setattr(bundle_zip, "MOST_BYTES", 10_000)
    with pytest.raises(DataError, match="unpacks to more than"):
        opened(packed)


def test_a_bomb_without_a_directory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of a zip that is cut short never unpacks to more than the limit."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONSOLE, bytes(32 << 20))
    raw = written.getvalue()[:-60]
    monkeypatch.setattr(bundle_zip, "MOST_MEMBER", 4 << 20)
    members = zip_members(io.BytesIO(raw))
    assert sum(map(len, members.chunks[CONSOLE]())) <= 5 << 20


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"format: 2", "format 2, this klosdbg reads 1"),
        (b"[1, 2]", "no mapping"),
        (b"format: 1\nklosdbg: [1]", "klosdbg is no text"),
        (b"format: 1\npython: 3.13", "python is no text"),
        (b"format: 1\ngdb: {16: 3}", "gdb is no text"),
        (b"format: 1\nmembers: 7", "members is no mapping"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\nformat: 1", "aliases"),
        (b"[" * 5000, "damaged: it is nested too deep"),
        (b"format: !!python/object/apply:os.system [ls]", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"format: 1\nx: " + b"y" * (600 << 10), "more than 512 KiB"),
        (b"", "no mapping"),
    ],
)
def test_bad_manifests(text: bytes, says: str) -> None:
    """YAML of another format, a bomb, or none at all is refused in one line."""
    with pytest.raises(DataError, match=says) as refused:
        decode_manifest(text)
    assert "\n" not in str(refused.value)


def test_a_manifest_without_versions_is_read() -> None:
    """What an older klosdbg did not record is empty, and shown nowhere."""
    older = decode_manifest(b"format: 1\nklosdbg: 0.1.0\nqemu: 7.2.22\naccelerator: tcg")
    assert [getattr(older, name) for name in VERSIONS] == ["0.1.0", "", "7.2.22", "", "tcg"]


@pytest.mark.parametrize(
    "rows",
    [
        '[["0x1000", 16, 1, 0], ["0x1008", 16, 1, 0]]',
        '[["0x1000", -1, 1, 0]]',
        '[["0x1000", 1, 1]]',
        '[["0xffffffffffffffff", 2, 1, 0]]',
        "[[1, 2, 3, 4]]",
        '[["0x0", 1, true, 0]]',
        '"x"',
    ],
)
def test_bad_places(rows: str) -> None:
    """Places that overlap or make no sense are refused."""
    with pytest.raises(DataError, match=r"memory\.json is damaged"):
        decode_places(f'{{"linear": {rows}}}'.encode(), "memory.json")


def test_places_past_their_memory(packed: bytes) -> None:
    """A place that points past what is stored refuses its snapshot."""
    places = encode_places([StoredRange(0, 1 << 20, 1, 0)], [])
    bundle = opened(packed)
    bundle._members.chunks["snapshots/001/memory.json"] = lambda: iter([places])
    with pytest.raises(DataError, match="lies past its memory"):
        bundle.snapshot(bundle.heads[0])


@given(st.dictionaries(st.sampled_from([*GPR32]), st.integers(0, (1 << 64) - 1)))
def test_registers_survive(values: dict[str, int]) -> None:
    """Registers come back as they were."""
    from dataclasses import replace

    cpu = replace(CPU, gpr={**CPU.gpr, **values})
    assert decode_cpu(encode_cpu(cpu), "registers.json") == cpu


@pytest.mark.parametrize("field", ["gpr", "segments", "gdtr", "cr3", "cpl", "dr", "a20"])
def test_registers_that_lack_something(field: str) -> None:
    """Registers without a part, or with nonsense in it, are refused."""
    whole = encode_cpu(CPU)
    for bad in ({k: v for k, v in whole.items() if k != field}, {**whole, field: "zz"}):
        if field == "a20" and field in bad:
            continue
        with pytest.raises(DataError, match=r"registers\.json is damaged") as refused:
            decode_cpu(bad, "registers.json")
        assert "int()" not in str(refused.value)
        assert "object" not in str(refused.value)


def test_lines_are_json_without_newlines() -> None:
    """A record is one line, whatever it holds."""
    assert encode_line({"text": "a\nb"}).count(b"\n") == 1
