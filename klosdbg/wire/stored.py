"""Memory of which slices were stored: what an opened capture or a core reads from."""

from bisect import bisect_right
from collections.abc import Callable

from klosdbg.errors import MemoryFault
from klosdbg.wire.bundle import Store


class StoredMemory:
    """Memory of one address space, of which slices were stored.

    ``why`` says why a range cannot be read, its address and size given; empty: it is not mapped.
    """

    def __init__(
        self, space: str, store: Store, why: Callable[[int, int], str] = lambda _at, _size: ""
    ) -> None:
        self._space = space
        self._store = store
        self._why = why
        self._starts = sorted(store)

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self._find(address, size)
        if found is None:
            raise MemoryFault(self._space, address, size, why=self._why(address, size))
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
