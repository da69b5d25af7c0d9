"""The members of a zip that nobody vouches for: bounded, and as far as sound where it is cut short.

``zipfile`` reads what is whole. A zip without its directory, which comes last, is walked from one
local header to the next.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from klosdbg.errors import DataError

MOST_MEMBERS = 2000
MOST_MEMBER = 512 << 20
MOST_BYTES = 1 << 30
CHUNK = 1 << 20

_KNOWN = re.compile(
    r"manifest\.yaml|(events|relocations|notes|snapshots)\.jsonl|symbols\.json|console\.log"
    r"|report\.html|replay/[A-Za-z0-9][A-Za-z0-9_.-]*"
    r"|snapshots/[0-9]{3}/(registers\.json|memory\.json|memory\.bin)"
)
_ESCAPES = re.compile(r"^[/\\]|^[A-Za-z]:|\\|\0|(^|/)\.\.(/|$)")
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_COMMENT = 0xFFFF
_BIG_LOCATOR = b"PK\x06\x07"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW = 1, 8

Chunks = Callable[[], Iterator[bytes]]


@dataclass(slots=True)
class Members:
    """The members of a bundle by name, each to be read in bounded chunks, and what is wrong."""

    chunks: dict[str, Chunks] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    def add(self, name: str, chunks: Chunks) -> None:
        """Take a member, or raise ``DataError`` for a name that a capture cannot have."""
        if _ESCAPES.search(name):
            raise DataError(
                f"the capture is refused: its member {name[:40]!r} leaves its directory"
            )
        if name in self.chunks:
            raise DataError(f"the capture is refused: it holds {name[:40]!r} twice")
        if len(self.chunks) >= MOST_MEMBERS:
            raise DataError(f"the capture is refused: it has more than {MOST_MEMBERS} members")
        if _KNOWN.fullmatch(name):
            self.chunks[name] = chunks
        else:
            self.damage.append(f"{name[:40]!r} belongs to no capture")

    def read(self, name: str, most: int = MOST_MEMBER) -> bytes:
        """Read a whole member, or raise ``DataError`` for one of more than so many bytes."""
        parts = []
        for chunk in self.chunks[name]():
            most -= len(chunk)
            if most < 0:
                raise DataError(f"the capture is refused: {name} is too large")
            parts.append(chunk)
        return b"".join(parts)


def zip_members(file: BinaryIO) -> Members:
    """List a zip's members, or raise ``DataError`` for what is no capture."""
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        raise DataError("it is no capture: neither a zip nor a directory that klosdbg recorded")
    if not _has_directory(file):
        return _walked(file)
    try:
        return _listed(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, struct.error, OSError, ValueError, UnicodeDecodeError):
        return _walked(file)


def _has_directory(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    tail_start = max(0, size - _END.size - _COMMENT)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return False
    _, _, _, _, count, directory, _, _ = _END.unpack_from(tail, at)
    if count > MOST_MEMBERS or directory > MOST_MEMBERS * 256 or _BIG_LOCATOR in tail[:at][-20:]:
        raise DataError(f"the capture is refused: it has more than {MOST_MEMBERS} members")
    return True


def _listed(archive: zipfile.ZipFile) -> Members:
    members = Members()
    infos = archive.infolist()
    if sum(info.file_size for info in infos) > MOST_BYTES:
        raise DataError(f"the capture is refused: it unpacks to more than {MOST_BYTES >> 20} MiB")
    for info in infos:
        members.add(info.filename, partial(_unzipped, archive, info))
    return members


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    left = min(info.file_size, MOST_MEMBER)
    try:
        with archive.open(info) as member:
            while chunk := member.read(min(CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise DataError(f"{info.filename} is larger than it says")
                yield chunk
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        struct.error,
    ):
        raise DataError(f"{info.filename} is damaged") from None


def _walked(file: BinaryIO) -> Members:
    members = Members(damage=["the zip is cut short"])
    end = file.seek(0, 2)
    at = 0
    while header := _local_header(file, at):
        name, start, packed, flags, method = header
        if flags & (_ENCRYPTED | _SIZES_FOLLOW) or method not in (_STORED, _DEFLATED):
            break
        kept = min(packed, end - start)
        members.add(name, partial(_inflated, file, start, kept, method == _DEFLATED))
        at = start + packed
    return members


def _local_header(file: BinaryIO, at: int) -> tuple[str, int, int, int, int] | None:
    file.seek(at)
    raw = file.read(_LOCAL.size)
    if len(raw) < _LOCAL.size or not raw.startswith(b"PK\x03\x04"):
        return None
    _, _, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL.unpack(raw)
    name = file.read(name_size).decode("utf-8", "replace")
    return name, at + _LOCAL.size + name_size + extra_size, packed, flags, method


def _inflated(file: BinaryIO, start: int, size: int, deflated: bool) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left, most = size, MOST_MEMBER
    while left > 0 and most > 0:
        file.seek(start + size - left)
        packed = file.read(min(CHUNK, left))
        left -= len(packed)
        if not packed:
            return
        try:
            for chunk in _expanded(inflater, packed) if deflated else (packed,):
                most -= len(chunk)
                if most < 0:
                    return
                yield chunk
        except zlib.error:
            return


def _expanded(inflater: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    while packed:
        yield inflater.decompress(packed, CHUNK)
        packed = inflater.unconsumed_tail
