"""Entries of another image's arrays, rewritten into the structures of ``klos_abi.h``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from klosdbg.klos.abi import (
    KlosApplication,
    KlosProcess,
    KlosRelocation,
    KlosService,
    KlosSite,
    KlosThread,
)
from klosdbg.klos.layout import members, size_of

ENTRIES: dict[str, Any] = {
    "sites": KlosSite,
    "services": KlosService,
    "processes": KlosProcess,
    "threads": KlosThread,
    "relocation_log": KlosRelocation,
    "applications": KlosApplication,
}
_LARGEST = 4096


class Source(NamedTuple):
    """Where an entry of the image keeps a field: offset and width in bytes."""

    offset: int
    width: int


def read_fields(structure: Any, given: object) -> dict[str, Source]:
    """Read ``{field: offset}`` or ``{field: [offset, width]}``, or raise ``ValueError``."""
    if not isinstance(given, dict):
        raise ValueError("a mapping of fields to offsets is wanted")
    sizes = {member.name: member.size for member in members(structure)}
    sources = {}
    for name, place in given.items():
        if name not in sizes:
            raise ValueError(f"{name!r} is no field of the structure")
        pair = place if isinstance(place, list) else [place, sizes[name]]
        if len(pair) != 2 or not all(type(n) is int and 0 <= n < _LARGEST for n in pair):
            raise ValueError(f"{name}: an offset, or [offset, width], is wanted")
        if not 0 < pair[1] <= sizes[name]:
            raise ValueError(f"{name}: its width is 1 to {sizes[name]} bytes")
        sources[name] = Source(*pair)
    return sources


def rewrite(structure: Any, raw: bytes, entry_size: int, sources: Mapping[str, Source]) -> bytes:
    """Move every entry's fields to where our structure has them; what is not told is 0."""
    whole = len(raw) // entry_size if entry_size else 0
    starts = range(0, whole * entry_size, entry_size or 1)
    return b"".join(_entry(structure, raw[at : at + entry_size], sources) for at in starts)


def _entry(structure: Any, raw: bytes, sources: Mapping[str, Source]) -> bytes:
    entry = bytearray(size_of(structure))
    for member in members(structure):
        source = sources.get(member.name)
        if source is not None:
            found = raw[source.offset : source.offset + source.width]
            entry[member.offset : member.offset + len(found)] = found
    return bytes(entry)
