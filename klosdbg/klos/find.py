"""Finding ``klos_info`` in a guest, and reading the arrays that it describes."""

from collections.abc import Iterator
from typing import Any, TypeVar

from klosdbg.errors import CommandError, KlosdbgError, MemoryFault
from klosdbg.klos.abi import KlosArray, KlosInfo, KlosPanic
from klosdbg.klos.constants import ABI_VERSION, Flag
from klosdbg.klos.layout import columns, decode, size_of
from klosdbg.klos.models import Klos
from klosdbg.klos.scan import scan
from klosdbg.ports import Symbols, Target

T = TypeVar("T")

MAGIC = b"KLOSINFO"
SYMBOL = "klos_info"
_INFO_SIZE = size_of(KlosInfo)
_MOST_BYTES = 4 << 20
_LARGEST_ENTRY = 4096
_TOP = 1 << 32
_NOT_BOOTED = "KLOS has not booted yet: run 'until klos_ready' first"


def find_klos(target: Target, symbols: Symbols | None) -> Klos:
    """Find KLOS by the symbol ``klos_info``, or by its magic in physical memory.

    Raise ``CommandError`` where there is none, or one that this klosdbg cannot read.
    """
    found = find_by_symbol(target, symbols)
    if found is not None:
        return found
    if target.physical is None:
        raise CommandError(
            f"no KLOS found by symbol, and {target.name} has no physical memory to search: "
            "give the image with --symbols"
        )
    at = scan(target, target.physical)
    info = decode_info(target.physical.read(at, _INFO_SIZE), at)
    linear = info.os_base + at if info.flags & Flag.BOOTED else at
    return Klos(linear, info, "scan")


def booted_klos(target: Target, symbols: Symbols | None) -> Klos:
    """Find KLOS, or raise ``CommandError`` where it has not booted: its arrays are not there."""
    klos = find_klos(target, symbols)
    if not klos.booted:
        raise CommandError(_NOT_BOOTED)
    return klos


def find_by_symbol(target: Target, symbols: Symbols | None) -> Klos | None:
    """Read ``klos_info`` at its symbol; None without the symbol, or without the magic there."""
    address = symbols.address(SYMBOL) if symbols else None
    if address is None:
        return None
    try:
        raw = target.linear.read(address, _INFO_SIZE)
    except MemoryFault:
        return None
    if not raw.startswith(MAGIC):
        return None
    return Klos(address, decode_info(raw, address), "symbol")


def decode_info(raw: bytes, address: int) -> KlosInfo:
    """Decode ``klos_info``, or raise ``CommandError`` for a version that is not ours."""
    if len(raw) < _INFO_SIZE or not raw.startswith(MAGIC):
        raise CommandError(f"no klos_info at {address:#010x}: the magic KLOSINFO is not there")
    info = decode(KlosInfo, raw)
    if info.version != ABI_VERSION:
        raise CommandError(
            f"klos_info at {address:#010x} has version {info.version}, this klosdbg reads "
            f"version {ABI_VERSION}: use the klosdbg that came with the image"
        )
    if not _INFO_SIZE <= info.size <= _LARGEST_ENTRY:
        raise CommandError(
            f"klos_info at {address:#010x} says that it has {info.size} bytes, version "
            f"{ABI_VERSION} has {_INFO_SIZE}: build the image and klosdbg from the same sources"
        )
    return info


def read_array(target: Target, array: KlosArray, entry: type[T], name: str) -> list[T]:
    """Read an array of structures; what newer entries have at their end is skipped.

    Raise ``CommandError`` for an array that makes no sense, ``MemoryFault`` for one not mapped.
    """
    raw = _read(target, array, size_of(entry), name)
    return [decode(entry, raw, i * array.entry_size) for i in range(array.count)]


def read_columns(
    target: Target, array: KlosArray, entry: Any, name: str, *fields: str
) -> list[tuple[int, ...]]:
    """Read some fields of every entry of an array, which is much quicker than all of them.

    The same errors as ``read_array``.
    """
    raw = _read(target, array, size_of(entry), name)
    if not array.count:
        return []
    return list(columns(entry, fields, array.entry_size).iter_unpack(raw))


def read_numbers(target: Target, array: KlosArray, width: int, name: str) -> list[int]:
    """Read an array of numbers of ``width`` bytes; the same errors as ``read_array``."""
    raw = _read(target, array, width, name)
    starts = range(0, array.count * array.entry_size, array.entry_size or 1)
    return [int.from_bytes(raw[at : at + width], "little") for at in starts]


def read_one(target: Target, address: int, structure: type[T]) -> T:
    """Read one structure at a linear address, or raise ``MemoryFault``."""
    return decode(structure, target.linear.read(address, size_of(structure)))


def read_panic(target: Target, info: KlosInfo) -> KlosPanic | None:
    """Read the panic record; None where KLOS has not panicked."""
    if not info.flags & Flag.PANIC:
        return None
    try:
        return read_one(target, info.panic, KlosPanic)
    except MemoryFault:
        return decode(KlosPanic, bytes(size_of(KlosPanic)))


def read_entry(target: Target, array: KlosArray, address: int, entry: type[T]) -> T | None:
    """Read the entry of an array that lies at ``address``; None where no entry does."""
    offset = address - array.address
    if array.entry_size < size_of(entry) or offset % array.entry_size:
        return None
    if not 0 <= offset // array.entry_size < array.count:
        return None
    return read_one(target, address, entry)


def _read(target: Target, array: KlosArray, least: int, name: str) -> bytes:
    problem = next(_problems(array, least), None)
    if problem:
        raise CommandError(f"klos_info.{name} makes no sense: {problem}")
    size = array.count * array.entry_size
    return target.linear.read(array.address, size) if size else b""


def _problems(array: KlosArray, least: int) -> Iterator[str]:
    size = array.count * array.entry_size
    if array.count and not least <= array.entry_size <= _LARGEST_ENTRY:
        yield f"entries of {array.entry_size} bytes (version {ABI_VERSION}: {least})"
    if size > _MOST_BYTES:
        yield f"{array.count} entries of {array.entry_size} bytes are more than 4 MiB"
    if array.address + size > _TOP:
        yield f"{size} bytes at {array.address:#010x} run past 4 GiB"


def try_read(target: Target, array: KlosArray, entry: type[T], name: str) -> list[T]:
    """Read an array of structures; empty where it cannot be read."""
    try:
        return read_array(target, array, entry, name)
    except KlosdbgError:
        return []
