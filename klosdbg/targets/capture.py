"""An opened capture as a target: each snapshot is read as a stopped guest is, and never written."""

from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from klosdbg.errors import DataError, MemoryFault
from klosdbg.ports import Target
from klosdbg.wire.bundle import Snapshot, Store
from klosdbg.wire.bundle_read import Bundle, open_bundle
from klosdbg.wire.bundle_zip import CHUNK, MOST_MEMBER, Members, zip_members
from klosdbg.x86.cpu import Cpu

_PART = ".part"
_MOST_LISTED = 10_000


def open_capture(path: Path) -> Bundle:
    """Open a capture: a zip, or the directory of a recording that was not finished.

    Raise ``DataError`` for what cannot be read or is no capture.
    """
    if not path.exists() and path.with_name(path.name + _PART).is_dir():
        path = path.with_name(path.name + _PART)
    try:
        if path.is_dir():
            return open_bundle(_directory_members(path), unfinished=True)
        return open_bundle(zip_members(path.open("rb")))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot open {path}: {reason}: check its path") from None
    except DataError as error:
        raise DataError(f"cannot open {path}: {error}") from None


def snapshot_target(snapshot: Snapshot, name: str, console: bytes = b"") -> Target:
    """Make a target of a snapshot. It cannot run, and nothing in it can be written."""
    return Target(
        name=f"{name}, snapshot {snapshot.number}",
        registers=_HeldRegisters(snapshot.cpu),
        linear=StoredMemory("linear", snapshot.linear),
        physical=StoredMemory("physical", snapshot.physical),
        read_console=lambda: console,
        address_bits=64 if "rsp" in snapshot.cpu.gpr else 32,
    )


class _HeldRegisters:
    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu

    def read(self) -> Cpu:
        """Give the registers that were recorded."""
        return self._cpu


class StoredMemory:
    """Memory of one address space, of which slices were stored."""

    def __init__(self, space: str, store: Store) -> None:
        self._space = space
        self._store = store
        self._starts = sorted(store)

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self._find(address, size)
        if found is None:
            raise MemoryFault(self._space, address, size)
        return found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one was not stored."""
        return [self._find(address, size) for address, size in requests]

    def _find(self, address: int, size: int) -> bytes | None:
        parts = []
        while size > 0:
            at = bisect_right(self._starts, address) - 1
            start = self._starts[at] if at >= 0 else address
            part = self._store[start][address - start :][:size] if at >= 0 else b""
            if not part:
                return None
            parts.append(part)
            address, size = address + len(part), size - len(part)
        return b"".join(parts)


def _directory_members(directory: Path) -> Members:
    members = Members()
    for number, path in enumerate(sorted(directory.rglob("*"))):
        if number > _MOST_LISTED:
            raise DataError("it is no recording: too many files")
        if path.is_file() and not path.is_symlink() and path.name != "packed":
            members.add(path.relative_to(directory).as_posix(), partial(_pieces, path))
    return members


def _pieces(path: Path) -> Iterator[bytes]:
    left = MOST_MEMBER
    try:
        with path.open("rb") as file:
            while left > 0 and (chunk := file.read(CHUNK)):
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}") from None
