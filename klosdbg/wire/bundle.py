"""The ``.klos`` capture bundle: what its members are called, and how records become bytes.

A capture is a directory of files that only grow; finished, it is a zip of the same members, in
this order::

    manifest.yaml               format, versions, command line, times, a hash of every member
    events.jsonl                one event a line
    relocations.jsonl           one relocation a line
    notes.jsonl                 notes, marks and expectations, one a line
    snapshots.jsonl             one snapshot a line, written when its own members are complete
    snapshots/001/registers.json
    snapshots/001/memory.json   where each slice of memory is stored
    snapshots/001/memory.bin    the slices that no earlier snapshot stores
    symbols.json                names, and the linear addresses that they reach
    console.log                 what the guest printed
    report.html                 all of it to be read in a browser

Nothing here opens a file. What comes out of a bundle is untrusted: every decoder checks types and
ranges, and raises ``DataError``; what is not printable in its strings becomes U+FFFD.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from klosdbg.errors import DataError
from klosdbg.wire.harmless import harmless_json
from klosdbg.x86.cpu import Cpu

FORMAT = 1
MANIFEST = "manifest.yaml"
EVENTS = "events.jsonl"
RELOCATIONS = "relocations.jsonl"
NOTES = "notes.jsonl"
SNAPSHOTS = "snapshots.jsonl"
SYMBOLS = "symbols.json"
CONSOLE = "console.log"
REPORT = "report.html"
REPLAY = "replay/"
# The fields of a manifest that say what recorded.
VERSIONS = ("klosdbg", "python", "qemu", "gdb", "accelerator")

MOST_SNAPSHOTS = 500
MOST_MANIFEST = 512 << 10
MOST_LINE = 1 << 20
SLICE = 4096
_MOST_SLICES = 1 << 16
_TOP = 1 << 64
_MOST_SECONDS = 1 << 40

Line = dict[str, Any]
Store = Mapping[int, bytes | memoryview]
"""Memory of one address space: address to bytes, none of which overlap."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was recorded, with what, when, and how it ended.

    ``members`` holds the SHA-256 of every other member; it is empty while the capture is written.
    ``ended`` is None until then. ``replay`` holds what a replay needs to boot.
    """

    format: int = FORMAT
    klosdbg: str = ""
    python: str = ""
    target: str = ""
    qemu: str = ""
    gdb: str = ""
    accelerator: str = ""
    command_line: tuple[str, ...] = ()
    image: str = ""
    image_sha256: str = ""
    started: str = ""
    finished: str = ""
    ended: str | None = None
    redacted: bool = False
    replay: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a target at one moment: its registers, and the memory that was stored.

    ``seconds`` counts from the capture's start; ``events`` is how many had been recorded.
    """

    number: int
    why: str
    seconds: float
    events: int
    cpu: Cpu
    linear: Store
    physical: Store


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Where ``size`` bytes at ``address`` are stored: in a snapshot's memory, at an offset."""

    address: int
    size: int
    snapshot: int
    offset: int


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as YAML."""
    import yaml

    plain = {**asdict(manifest), "command_line": list(manifest.command_line)}
    return yaml.safe_dump(plain, sort_keys=False, width=1000).encode()


def decode_manifest(raw: bytes) -> Manifest:
    """Read a manifest, or raise ``DataError``: too large, no YAML, aliases, wrong types."""
    plain = _load_yaml(raw)
    if plain.get("format") != FORMAT:
        raise DataError(
            f"the capture has format {plain.get('format')!r:.20}, this klosdbg reads {FORMAT}: "
            "use the klosdbg that recorded it"
        )
    defaults = asdict(Manifest())
    known = {name: plain.get(name, default) for name, default in defaults.items()}
    for name, default in defaults.items():
        wanted = (list, tuple) if name == "command_line" else type(default)
        if not isinstance(known[name], (str, type(None)) if name == "ended" else wanted):
            raise DataError(f"the capture's manifest is damaged: {name} is no {_kind(default)}")
    known["command_line"] = tuple(map(str, known["command_line"]))
    known["members"] = {str(name): str(digest) for name, digest in known["members"].items()}
    return Manifest(**known)


def _kind(default: object) -> str:
    names = {str: "text", tuple: "list", dict: "mapping", bool: "truth value", int: "number"}
    return names.get(type(default), "text")


def _load_yaml(raw: bytes) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuse aliases: a few of them can stand for a gigabyte."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it uses aliases")
            return super().compose_node(parent, index)

    if len(raw) > MOST_MANIFEST:
        raise DataError(f"the capture's manifest is damaged: more than {MOST_MANIFEST >> 10} KiB")
    try:
        plain = harmless_json(yaml.load(raw, Loader))
    except RecursionError:
        raise DataError("the capture's manifest is damaged: it is nested too deep") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:60]
        raise DataError(f"the capture's manifest is damaged: {reason}") from None
    except (ValueError, TypeError, AttributeError):
        raise DataError("the capture's manifest is damaged: a value in it is none") from None
    if not isinstance(plain, dict):
        raise DataError("the capture's manifest is damaged: it is no mapping")
    return plain


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Write one record as a line of JSON."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def decode_lines(chunks: Iterable[bytes], damaged: Callable[[str], None]) -> Iterator[Line]:
    """Read lines of JSON objects; one that is none is left out and reported to ``damaged``."""
    for number, raw in enumerate(chunks, 1):
        try:
            record = harmless_json(json.loads(raw)) if raw.endswith(b"\n") else None
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            yield record
        else:
            what = "is no record" if raw.endswith(b"\n") else "is incomplete"
            damaged(f"line {number} {what}")


def decode_object(raw: bytes, name: str) -> dict[str, Any]:
    """Read a member that is one JSON object, or raise ``DataError``."""
    try:
        plain = harmless_json(json.loads(raw))
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise DataError(f"{name} is damaged: it is no JSON object")
    return plain


def seconds_of(value: object) -> float | None:
    """Read a time that is counted from the capture's start; None where it is none."""
    sound = isinstance(value, int | float) and 0 <= value < _MOST_SECONDS
    return float(value) if sound else None  # type: ignore[arg-type]


def digest(chunks: Iterable[bytes]) -> str:
    """Hash a member."""
    import hashlib

    hashed = hashlib.sha256()
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.hexdigest()


def member_of(snapshot: int, name: str) -> str:
    """Name a member of a snapshot."""
    return f"snapshots/{snapshot:03d}/{name}"


def encode_places(linear: Iterable[StoredRange], physical: Iterable[StoredRange]) -> bytes:
    """Write ``memory.json``: neighbours in memory that are neighbours in the file are one place."""
    spaces = {"linear": _joined(linear), "physical": _joined(physical)}
    plain = {
        space: [[hex(p.address), p.size, p.snapshot, p.offset] for p in places]
        for space, places in spaces.items()
    }
    return json.dumps(plain).encode()


def _joined(places: Iterable[StoredRange]) -> list[StoredRange]:
    joined: list[StoredRange] = []
    for place in sorted(places, key=lambda p: p.address):
        last = joined[-1] if joined else None
        if last and (last.address + last.size, last.snapshot, last.offset + last.size) == (
            place.address,
            place.snapshot,
            place.offset,
        ):
            joined[-1] = StoredRange(
                last.address, last.size + place.size, last.snapshot, last.offset
            )
        else:
            joined.append(place)
    return joined


def decode_places(raw: bytes, name: str) -> dict[str, list[StoredRange]]:
    """Read ``memory.json``, or raise ``DataError``: places that overlap, or make no sense."""
    plain = decode_object(raw, name)
    spaces = {}
    for space in ("linear", "physical"):
        rows = plain.get(space, [])
        if not isinstance(rows, list) or len(rows) > _MOST_SLICES:
            raise DataError(f"{name} is damaged: its {space} memory is no list of places")
        spaces[space] = [_place(row, name) for row in rows]
        end = 0
        for place in spaces[space]:
            if place.address < end:
                raise DataError(f"{name} is damaged: places overlap at {place.address:#x}")
            end = place.address + place.size
    return spaces


def _place(row: Any, name: str) -> StoredRange:
    try:
        address, size, snapshot, offset = row
        place = StoredRange(int(address, 16), size, snapshot, offset)
        numbers = (place.address, place.size, place.snapshot, place.offset)
        if all(type(n) is int and n >= 0 for n in numbers) and place.address + size <= _TOP:
            return place
    except (ValueError, TypeError):
        pass
    raise DataError(f"{name} is damaged: {row!s:.40} is no place")
