"""Text of strangers: no escape sequence of a capture or an image gets as far as a terminal."""

import io
import json
import zipfile

from klosdbg.captures.opened import Opened
from klosdbg.events.document import event_data
from klosdbg.views.base import columns, visible_length
from klosdbg.wire.bundle import EVENTS, MANIFEST, NOTES, SYMBOLS, Manifest, digest, encode_manifest
from klosdbg.wire.bundle_read import open_bundle
from klosdbg.wire.bundle_zip import zip_members
from klosdbg.wire.harmless import harmless, harmless_json
from klosdbg.wire.symbols import Image
from tests.live.tiny import image
from tests.unit.test_report import event

HOSTILE = "\x1b]0;pwn\x07\x1b[2J\nforged\u202e\x9b"


def test_what_is_printable_stays() -> None:
    """Letters of any language are no harm; control characters and line ends are."""
    assert harmless("critical_leave+0x1c, ünder") == "critical_leave+0x1c, ünder"
    assert harmless(HOSTILE) == "\ufffd]0;pwn\ufffd\ufffd[2J\ufffdforged\ufffd\ufffd"
    assert harmless_json({HOSTILE: [HOSTILE, 1, None]}) == {
        harmless(HOSTILE): [harmless(HOSTILE), 1, None]
    }


def test_a_hostile_capture() -> None:
    """Symbols, events, notes and manifest of a capture whose hashes are right."""
    line = json.dumps(event_data(event(1, process=HOSTILE))).encode() + b"\n"
    members = {
        SYMBOLS: json.dumps({HOSTILE: [0x1000, 0x2000]}).encode(),
        EVENTS: line,
        NOTES: json.dumps({"kind": HOSTILE, "text": HOSTILE}).encode() + b"\n",
    }
    hashes = {n: digest([raw]) for n, raw in members.items()}
    manifest = Manifest(target=HOSTILE, python=HOSTILE, gdb=HOSTILE, members=hashes)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(MANIFEST, encode_manifest(manifest))
        for name, raw in members.items():
            archive.writestr(name, raw)
    opened = Opened("bug", open_bundle(zip_members(written)))
    (hit,), (note,) = opened.events, opened.notes
    shown = (opened.manifest.target, opened.manifest.python, opened.manifest.gdb)
    texts = [*opened.bundle.symbols(), hit.process, *note.values(), *shown]
    assert len(texts) == 7
    assert all(text == harmless(HOSTILE) for text in texts)


def test_a_hostile_image() -> None:
    """A symbol of an ELF image, written over with an escape sequence of the same length."""
    raw = image().read_bytes()
    assert raw.count(b"\0loop\0") == 1
    symbols = Image(raw.replace(b"\0loop\0", b"\0\x1b[2J\0"), "tiny.elf")
    assert "\ufffd[2J" in symbols.by_name


def test_a_width_is_told_of_any_text() -> None:
    """Only klosdbg's own colours take no room; a torn sequence is text as any other."""
    assert visible_length("\x1b[32mgreen\x1b[0m") == len("green")
    assert visible_length("\x1b[2") == len("\x1b[2")
    assert columns([("\x1b[1mab\x1b[0m", "c"), ("a", "d")]) == "\x1b[1mab\x1b[0m  c\na   d"
