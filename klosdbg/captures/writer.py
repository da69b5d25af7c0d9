"""Writing a capture: files that only grow, and at the end a zip of them.

While it is written, ``bug.klos`` is the directory ``bug.klos.part``. Each record goes out in one
write, so what kills klosdbg costs at most the last line.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from klosdbg.errors import CommandError
from klosdbg.wire.bundle import (
    CONSOLE,
    EVENTS,
    MANIFEST,
    NOTES,
    RELOCATIONS,
    REPORT,
    SLICE,
    SNAPSHOTS,
    SYMBOLS,
    Manifest,
    Snapshot,
    Store,
    StoredRange,
    digest,
    encode_line,
    encode_manifest,
    encode_places,
    member_of,
)
from klosdbg.wire.cpujson import encode_cpu

PART = ".part"
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_CHUNK = 1 << 20
_ORDER = (EVENTS, RELOCATIONS, NOTES, SNAPSHOTS)
_LAST = (SYMBOLS, CONSOLE, REPORT)


class CaptureWriter:
    """A capture that is being written. ``ended`` is None until something ends it: it says what."""

    def __init__(self, path: Path, manifest: Manifest, reserved: bool = False) -> None:
        self.path = path
        self.directory = path.with_name(path.name + PART)
        self.manifest = manifest
        self.ended: str | None = None
        self._files: dict[str, int] = {}
        self._stored: dict[bytes, tuple[int, int]] = {}
        self._create(reserved)

    def line(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a record to a member of JSON lines."""
        self.append(name, encode_line(record))

    def append(self, name: str, raw: bytes) -> None:
        """Append bytes to a member; a full disk ends the capture and keeps what it has."""
        if self.ended is not None or not raw:
            return
        file = self._file(name)
        if file is None:
            return
        before = os.fstat(file).st_size
        try:
            while raw:
                raw = raw[os.write(file, raw) :]
        except OSError as error:
            os.ftruncate(file, before)
            self._end(error)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Store a snapshot: the slices that no earlier one stored, then where each slice is."""
        fresh: list[bytes] = []
        places = {
            space: list(self._places(store, snapshot.number, fresh))
            for space, store in (("linear", snapshot.linear), ("physical", snapshot.physical))
        }
        number = snapshot.number
        self.append(member_of(number, "memory.bin"), b"".join(fresh))
        self.append(member_of(number, "registers.json"), encode_line(encode_cpu(snapshot.cpu)))
        self.append(member_of(number, "memory.json"), encode_places(**places))
        head = {"number": number, "why": snapshot.why, "seconds": round(snapshot.seconds, 6)}
        self.line(SNAPSHOTS, {**head, "events": snapshot.events})

    def _places(self, store: Store, number: int, fresh: list[bytes]) -> Iterator[StoredRange]:
        end = sum(map(len, fresh))
        for address, whole in store.items():
            for start in range(0, len(whole), SLICE):
                raw = bytes(whole[start : start + SLICE])
                if raw not in self._stored:
                    self._stored[raw] = (number, end)
                    fresh.append(raw)
                    end += len(raw)
                yield StoredRange(address + start, len(raw), *self._stored[raw])

    def finish(self, last: Mapping[str, bytes], ended: str) -> Path:
        """Write the zip, remove the directory, and return where the capture is.

        Raise ``CommandError`` where the zip cannot be written: the directory stays.
        """
        for name, raw in last.items():
            self.append(name, raw)
        reason = self.ended
        self.close(ended)
        if reason is not None:
            raise CommandError(self.kept(reason))
        packed = self.directory / "packed"
        try:
            self._pack(packed, ended)
            packed.replace(self.path)
        except OSError as error:
            packed.unlink(missing_ok=True)
            raise CommandError(self.kept(_why(error))) from None
        shutil.rmtree(self.directory, ignore_errors=True)
        return self.path

    def kept(self, reason: str) -> str:
        """Say where the directory of a capture that ended early is."""
        return (
            f"the recording ended: {reason}; what it has is in {self.directory}: "
            f"'klosdbg open {self.directory}' reads it"
        )

    def close(self, ended: str) -> None:
        """Take nothing more."""
        self.ended = self.ended or ended
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _create(self, reserved: bool) -> None:
        if not reserved:
            reserve(self.path)
        try:
            (self.directory / MANIFEST).write_bytes(encode_manifest(self.manifest))
        except OSError as error:
            raise CommandError(f"cannot record to {self.path}: {_why(error)}") from None

    def _file(self, name: str) -> int | None:
        try:
            if name not in self._files:
                path = self.directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._files[name] = os.open(path, flags, 0o644)
            return self._files[name]
        except OSError as error:
            self._end(error)
            return None
        finally:
            self._forget_snapshot_files(name)

    def _forget_snapshot_files(self, name: str) -> None:
        for other in [n for n in self._files if n != name and n.startswith("snapshots/")]:
            os.close(self._files.pop(other))

    def _end(self, error: OSError) -> None:
        """Take nothing more, and say why in the manifest where that still has room."""
        self.ended = _why(error)
        raw = encode_manifest(replace(self.manifest, ended=self.ended))
        with suppress(OSError), (self.directory / MANIFEST).open("r+b") as file:
            file.write(raw)

    def _pack(self, packed: Path, ended: str) -> None:
        import zipfile
        from datetime import UTC, datetime

        names = list(self._names())
        members = {name: digest(_pieces(self.directory / name)) for name in names}
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = replace(self.manifest, members=members, ended=ended, finished=finished)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MANIFEST, encode_manifest(manifest))
            for name in names:
                archive.write(self.directory / name, name)

    def _names(self) -> Iterator[str]:
        yield from (name for name in _ORDER if (self.directory / name).exists())
        for path in sorted(self.directory.glob("snapshots/*/*")):
            yield str(path.relative_to(self.directory))
        yield from (name for name in _LAST if (self.directory / name).exists())
        for path in sorted(self.directory.glob("replay/*")):
            yield str(path.relative_to(self.directory))


def reserve(path: Path) -> Path:
    """Make the directory that a capture is written to.

    Raise ``CommandError`` where it or the capture exists, or it cannot be made.
    """
    directory = path.with_name(path.name + PART)
    for taken, what in ((path, "exists"), (directory, "is an unfinished recording")):
        if taken.exists():
            raise CommandError(f"{taken} {what}: choose another name, or remove it first")
    try:
        directory.mkdir()
    except OSError as error:
        raise CommandError(f"cannot record to {path}: {_why(error)}") from None
    return directory


def _pieces(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _why(error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk is full"
    return str(error.strerror or error).lower()
