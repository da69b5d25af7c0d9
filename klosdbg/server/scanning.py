"""Answers that look through much memory, so that it need not travel: ``qCRC``, ``qSearch``."""

import re
import zlib
from collections.abc import Iterator

from klosdbg.errors import CommandError
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.reading import BadRequest, read_for

MOST_SCANNED = 32 << 20
"""Bytes that one packet may have looked through, since nobody else is served meanwhile."""

_CHUNK = 1 << 18
_CRC = re.compile(rb"qCRC:([0-9a-fA-F]{1,16}),([0-9a-fA-F]{1,16})")
_SEARCH = re.compile(
    rb"qSearch:memory:([0-9a-fA-F]{1,16});([0-9a-fA-F]{1,16});(.{1,8192})", re.DOTALL
)
_ALL_ONES = 0xFFFF_FFFF
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum_memory(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``qCRC``: ``compare-sections`` compares without reading."""
    match = _CRC.fullmatch(payload)
    if not match:
        raise BadRequest
    state = 0
    for part in _chunks(hub, client, int(match[1], 16), int(match[2], 16)):
        state = zlib.crc32(part.translate(_MIRROR), state)
    return b"C%08x" % int(f"{state ^ _ALL_ONES:032b}"[::-1], 2)


def search_memory(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``qSearch:memory``: ``find`` finds without reading."""
    match = _SEARCH.fullmatch(payload)
    if not match:
        return b"" if not payload.startswith(b"qSearch:memory:") else b"E22"
    start, size, wanted = int(match[1], 16), int(match[2], 16), match[3]
    kept = b""
    for part in _chunks(hub, client, start, size):
        window = kept + part
        found = window.find(wanted)
        if found >= 0:
            return b"1,%x" % (start - len(kept) + found)
        start += len(part)
        kept = window[len(window) - min(len(wanted) - 1, len(window)) :]
    return b"0"


def _chunks(hub: Hub, client: Client, address: int, size: int) -> Iterator[bytes]:
    if size > MOST_SCANNED:
        raise CommandError(f"{size:#x} bytes are too many: look through {MOST_SCANNED:#x} at most")
    while size > 0:
        part = read_for(hub, client, address, min(size, _CHUNK))
        yield part
        if len(part) < min(size, _CHUNK):
            raise CommandError(f"memory ends at {address + len(part):#x}")
        address, size = address + len(part), size - len(part)
