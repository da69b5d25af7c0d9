"""Reading a capture bundle that nobody vouches for: hashes checked, damage named, the rest kept."""

import json
from collections.abc import Iterator
from functools import cached_property

from klosdbg.errors import DataError
from klosdbg.wire.bundle import (
    CONSOLE,
    MANIFEST,
    MOST_LINE,
    MOST_MANIFEST,
    MOST_SNAPSHOTS,
    SNAPSHOTS,
    SYMBOLS,
    Line,
    Manifest,
    Snapshot,
    Store,
    StoredRange,
    decode_lines,
    decode_manifest,
    decode_object,
    decode_places,
    digest,
    member_of,
    seconds_of,
)
from klosdbg.wire.bundle_zip import MOST_BYTES, Chunks, Members
from klosdbg.wire.cpujson import decode_cpu

_MOST_MEMORY = 256 << 20
_MOST_SYMBOLS = 64 << 20
_MOST_JSON = 16 << 20
_MOST_EVENTS = 1 << 53
_SHOWN = 3


class Bundle:
    """An opened capture. ``damage`` grows as parts are read that turn out unsound."""

    def __init__(self, members: Members, manifest: Manifest) -> None:
        self._members = members
        self.manifest = manifest
        self.damage = members.damage
        self._memory: dict[int, memoryview | None] = {}

    @cached_property
    def heads(self) -> list[Line]:
        """The line of each snapshot that can be read, in order."""
        return [line for line in self.lines(SNAPSHOTS) if self._is_head(line)][:MOST_SNAPSHOTS]

    @property
    def names(self) -> list[str]:
        """The names of the members that are sound."""
        return list(self._members.chunks)

    def lines(self, name: str) -> Iterator[Line]:
        """Read the records of a member of JSON lines; what is no record is left out and named."""
        if name in self._members.chunks:
            yield from decode_lines(
                _split(self._members.chunks[name]), lambda what: self._note(f"{name}: {what}")
            )

    def read(self, name: str) -> bytes:
        """Read a whole member; empty where there is none."""
        return self._members.read(name) if name in self._members.chunks else b""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Read a member piece by piece."""
        yield from self._members.chunks[name]()

    @property
    def console(self) -> bytes:
        """What the guest printed."""
        return self.read(CONSOLE)

    def symbols(self) -> dict[str, tuple[int, int]]:
        """Give the names that were recorded: the linear addresses where each begins and ends."""
        if SYMBOLS not in self._members.chunks:
            return {}
        try:
            plain = decode_object(self._members.read(SYMBOLS, _MOST_SYMBOLS), SYMBOLS)
        except DataError as error:
            self._note(str(error))
            return {}
        return {name: (reach[0], reach[1]) for name, reach in plain.items() if _is_reach(reach)}

    def snapshot(self, head: Line) -> Snapshot:
        """Read one snapshot, or raise ``DataError``."""
        number = head["number"]
        cpu_name, map_name = (member_of(number, n) for n in ("registers.json", "memory.json"))
        places = decode_places(self._required(map_name), map_name)
        return Snapshot(
            number=number,
            why=str(head.get("why", ""))[:200],
            seconds=float(head["seconds"]),
            events=int(head["events"]),
            cpu=decode_cpu(decode_object(self._required(cpu_name), cpu_name), cpu_name),
            linear=self._store(places["linear"], map_name),
            physical=self._store(places["physical"], map_name),
        )

    def damage_line(self) -> str:
        """Name the damage in one line; empty where there is none."""
        if not self.damage:
            return ""
        more = len(self.damage) - _SHOWN
        return "; ".join(self.damage[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def _required(self, name: str) -> bytes:
        if name not in self._members.chunks:
            raise DataError(f"{name} is missing")
        return self._members.read(name, _MOST_JSON)

    def _store(self, places: list[StoredRange], name: str) -> Store:
        store: dict[int, bytes | memoryview] = {}
        for place in places:
            memory = self._stored(place.snapshot)
            if memory is None:
                continue
            if place.offset + place.size > len(memory):
                raise DataError(f"{name} is damaged: {place.address:#x} lies past its memory")
            store[place.address] = memory[place.offset : place.offset + place.size]
        return store

    def _stored(self, number: int) -> memoryview | None:
        if number not in self._memory:
            name = member_of(number, "memory.bin")
            held = name in self._members.chunks
            self._memory[number] = (
                memoryview(self._members.read(name, _MOST_MEMORY)) if held else None
            )
        return self._memory[number]

    def _is_head(self, line: Line) -> bool:
        number, events = line.get("number"), line.get("events")
        sound = (
            type(number) is int
            and 0 < number <= MOST_SNAPSHOTS
            and type(events) is int
            and 0 <= events < _MOST_EVENTS
            and seconds_of(line.get("seconds")) is not None
        )
        if not sound:
            self._note(f"{SNAPSHOTS}: {json.dumps(line)[:40]} is no snapshot")
        return sound

    def _note(self, what: str) -> None:
        if what not in self.damage:
            self.damage.append(what)


def _is_reach(reach: object) -> bool:
    return (
        isinstance(reach, list)
        and [type(part) for part in reach] == [int, int]
        and 0 <= reach[0] <= reach[1] < 1 << 64
    )


def open_bundle(members: Members, unfinished: bool = False) -> Bundle:
    """Check every hash and leave out what does not match; raise ``DataError`` without a manifest.

    ``unfinished`` is a capture's directory, which has no hashes yet.
    """
    if MANIFEST not in members.chunks:
        raise DataError(f"it is no capture, or one that is damaged: {MANIFEST} is missing")
    manifest = decode_manifest(members.read(MANIFEST, MOST_MANIFEST))
    if unfinished:
        why = f": {manifest.ended}" if manifest.ended else ""
        members.damage.append(f"the recording was not finished{why}")
    else:
        _check_hashes(members, manifest)
    return Bundle(members, manifest)


def _check_hashes(members: Members, manifest: Manifest) -> None:
    for name in set(members.chunks) - set(manifest.members) - {MANIFEST}:
        members.damage.append(f"{name} is not in the manifest")
        del members.chunks[name]
    left = [MOST_BYTES]
    for name, wanted in manifest.members.items():
        if name not in members.chunks:
            members.damage.append(f"{name[:40]} is missing")
        elif _digest(members.chunks[name], left) != wanted:
            _keep_lines_or_drop(members, name)


def _keep_lines_or_drop(members: Members, name: str) -> None:
    if name.endswith(".jsonl") and "the zip is cut short" in members.damage:
        members.damage.append(f"{name} is cut short")
        return
    members.damage.append(f"{name} does not match its hash and is left out")
    del members.chunks[name]


def _digest(chunks: Chunks, left: list[int]) -> str:
    try:
        return digest(_bounded(chunks, left))
    except DataError as error:
        if not left[0]:
            raise
        return str(error)


def _bounded(chunks: Chunks, left: list[int]) -> Iterator[bytes]:
    for chunk in chunks():
        left[0] = max(0, left[0] - len(chunk))
        if not left[0]:
            raise DataError(
                f"the capture is refused: it unpacks to more than {MOST_BYTES >> 20} MiB"
            )
        yield chunk


def _split(chunks: Chunks) -> Iterator[bytes]:
    """Split into lines, newline included; one that is too long ends the member."""
    rest = b""
    for chunk in chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(rest) > MOST_LINE:
            break
    if rest:
        yield rest
