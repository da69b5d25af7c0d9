"""A connection to a stub that learns what is sent at each stop, and can send it all by itself.

That loop is what a recorder is measured by: the same packets, and no work in between.
"""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from klosdbg.ports import Target
from klosdbg.targets.qemu import QemuOptions, QemuProcess

_EIP = slice(64, 72)
"""Among the digits of QEMU's ``g`` for i386, where it is the ninth register."""
_GENERAL, _RUN = b"$g#67", b"$c#63"
_MEMORY = re.compile(rb"\$m([0-9a-f]+),([0-9a-f]+)#")
_RECEIVE = 1 << 16


class TappedSocket(socket.socket):
    """A stub's socket. It learns until the loop has begun, and then only passes on.

    ``packets`` counts what was sent until then; ``reads`` tells what was read at a stop, by EIP.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(fileno=connection.detach())
        self.packets = 0
        self._learning = True
        self.reads: dict[int, bytes] = {}
        self._next_reads: dict[int, bytes] = {}
        self._resumes: dict[int, bytes] = {}
        self._place = 0
        self._asked = self._heard = b""

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Send, and learn what belongs to the stop."""
        if not self._learning:
            super().sendall(data, flags)
            return
        self.packets += data.count(b"$")
        if self._asked:
            self._place = _eip(self._heard)
            self.reads[self._place] = self._asked
            self._asked = b""
        if _GENERAL in data:
            self._next_reads[self._place] = self._asked = data
        elif data.endswith(_RUN):
            self._resumes[self._place] = data
        self._heard = b""
        super().sendall(data, flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive, and keep what came since the last request."""
        data = super().recv(size, flags)
        if self._learning:
            self._heard += data
        return data

    def places(self) -> dict[int, list[tuple[int, int]]]:
        """Give what memory was read at each stop, as ``(address, size)``."""
        found = {place: _MEMORY.findall(sent) for place, sent in self.reads.items()}
        return {p: [(int(at, 16), int(size, 16)) for at, size in all_] for p, all_ in found.items()}

    def loop(self, stops: int) -> float:
        """Go on from a stop, for so many stops and to one at the same place.

        Return how many seconds a stop took.
        """
        self._learning = False
        start = place = _eip(self._exchange(_GENERAL))
        made, began = 0, time.perf_counter()
        while made < stops or place != start:
            self._exchange(self._resumes[place])
            place = _eip(self._exchange(self._next_reads[place]))
            made += 1
        return (time.perf_counter() - began) / made

    def _exchange(self, packets: bytes) -> bytes:
        """Send packets that each have one reply: ``c`` has the stop."""
        super().sendall(packets)
        wanted, got = packets.count(b"#"), b""
        while got.count(b"#") < wanted or got[-3:-2] != b"#":
            got += super().recv(_RECEIVE)
        return got


def _eip(replies: bytes) -> int:
    at = replies.index(b"$") + 1
    return int.from_bytes(bytes.fromhex(replies[at:][_EIP].decode()), "little")


@contextmanager
def tapped_guest(options: QemuOptions) -> Iterator[tuple[Target, TappedSocket]]:
    """Start QEMU behind such a connection; it ends with the context."""
    taps: list[TappedSocket] = []

    def tap(connection: socket.socket) -> socket.socket:
        taps.append(TappedSocket(connection))
        return taps[0]

    with closing(QemuProcess(options)) as process, closing(process.attach(tap)) as target:
        yield target, taps[0]
