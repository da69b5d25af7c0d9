"""A guest's RAM, shared with us: read while it runs, without a word to QEMU. Reads only.

TCG does not notice what is written through such a mapping, so writing stays with the stub.
"""

import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from klosdbg.errors import MemoryFault
from klosdbg.ports import Memory

_SHM = Path("/dev/shm")
_DEFAULT_SIZE = 128 << 20
_SIZE = re.compile(r"(?:size=)?(\d+)([MmGg]?)")
_UNITS = {"": 20, "M": 20, "G": 30}
_HOLE = range(0xA0000, 0x100000)
"""Video memory and ROMs lie over the RAM here."""
_BELOW_4G = 0xC0000000
"""RAM beyond 3 GiB is cut in two; what lies there is left to QEMU."""
_EXCLUDES = ("-machine", "-M", "-object", "-numa", "-mem-path", "-incoming", "-loadvm")


class SharedRam:
    """A file in shared memory that becomes the guest's RAM."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.path = Path(tempfile.mkstemp(prefix="klosdbg-", dir=_SHM)[1])

    @property
    def arguments(self) -> list[str]:
        """QEMU's arguments for it."""
        backend = f"memory-backend-file,id=ram,size={self.size},mem-path={self.path},share=on"
        return ["-m", f"{self.size >> 20}M", "-object", backend, "-machine", "memory-backend=ram"]

    def memory(self, rest: Memory) -> "RamMemory":
        """Map it; ``rest`` reads what is no RAM. The file's name goes: it ends with its users."""
        with self.path.open("rb") as file:
            content = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        self.forget()
        return RamMemory(content, rest)

    def forget(self) -> None:
        """Remove the file's name. Doing it twice does no harm."""
        self.path.unlink(missing_ok=True)


def share(arguments: Sequence[str]) -> SharedRam | None:
    """Make RAM to share, for a QEMU with these arguments; None where it cannot be shared."""
    if any(a in _EXCLUDES or "rr=" in a for a in arguments) or not os.access(_SHM, os.W_OK):
        return None
    size = _wanted_size(arguments)
    return SharedRam(size) if size and shutil.disk_usage(_SHM).free > size else None


def _wanted_size(arguments: Sequence[str]) -> int | None:
    if "-m" not in arguments:
        return _DEFAULT_SIZE
    following = arguments[arguments.index("-m") + 1 :]
    match = _SIZE.fullmatch(following[0]) if following else None
    return int(match[1]) << _UNITS[match[2].upper()] if match else None


class RamMemory:
    """Physical memory: RAM through the mapping, everything else by another way."""

    def __init__(self, content: mmap.mmap, rest: Memory) -> None:
        self._content = content
        self._end = min(len(content), _BELOW_4G)
        self._rest = rest

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self.read_many([(address, size)])[0]
        if found is None:
            raise MemoryFault("physical", address, size)
        return found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        content, is_ram = self._content, self._is_ram
        found = [content[at : at + size] for at, size in requests if is_ram(at, size)]
        return list(found) if len(found) == len(requests) else self._rest.read_many(requests)

    def _is_ram(self, address: int, size: int) -> bool:
        beside = address + size <= _HOLE.start or address >= _HOLE.stop
        return beside and address >= 0 and address + size <= self._end
