"""A GDB stub that does what a test tells it, for what QEMU never does on demand."""

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping

from klosdbg.wire.rsp import Codec, Interrupt, Packet, encode

XML = b"""<target><architecture>i386</architecture>
<reg name="eax" bitsize="32"/><reg name="cs" bitsize="32"/></target>"""

REGISTERS = """
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP=00001000 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 00000000 0000ffff 00009300
CS =0008 00100000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]
SS =0000 00000000 0000ffff 00009300
DS =0000 00000000 0000ffff 00009300
FS =0000 00000000 0000ffff 00009300
GS =0000 00000000 0000ffff 00009300
LDT=0000 00000000 0000ffff 00008200
TR =0000 00000000 0000ffff 00008b00
GDT=     00000000 0000ffff
IDT=     00000000 0000ffff
CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000
EFER=0000000000000000
"""


def command(text: str) -> bytes:
    """Build the request for a monitor command."""
    return b"qRcmd," + text.encode().hex().encode()


def printed(text: str) -> list[bytes]:
    """Build the replies to a monitor command that prints."""
    return [encode(b"O" + line.encode().hex().encode()) for line in text.splitlines(True)] + [
        encode(b"OK")
    ]


Answer = list[bytes] | Callable[[bytes], list[bytes]]


class FakeStub:
    """Answer each request as a table says; an answer is raw bytes, ``HANG_UP`` ends the talk.

    ``requests`` lists what came, interrupts as ``b"\\x03"``.
    """

    HANG_UP = b"hang up"

    def __init__(self, answers: Mapping[bytes, Answer] | None = None, first: bytes = b"") -> None:
        self.client, self._server = socket.socketpair()
        self.requests: list[bytes] = []
        self.acks = bytearray()
        self._first = first
        self._answers: dict[bytes, Answer] = {
            b"qSupported": [encode(b"PacketSize=1000;qXfer:features:read+")],
            b"qXfer:features": [encode(b"l" + XML)],
            b"qfThreadInfo": [encode(b"m01")],
            b"qsThreadInfo": [encode(b"l")],
            b"qqemu.PhyMemMode": [encode(b"0")],
            b"Qqemu": [encode(b"OK")],
            b"qqemu.sstep": [encode(b"0x7")],
            command("info registers"): printed(REGISTERS),
            command("info status"): printed("VM status: paused\n"),
            b"Z0": [encode(b"OK")],
            b"z0": [encode(b"OK")],
            b"D": [encode(b"OK")],
            b"c": [],
            b"s": [encode(b"T05thread:01;")],
            b"\x03": [encode(b"T02thread:01;")],
            **(answers or {}),
        }
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send bytes unasked."""
        self._server.sendall(data)

    def close(self) -> None:
        """End both sides."""
        self.client.close()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._server.close()

    def _serve(self) -> None:
        codec = Codec(run_length=False)
        with contextlib.suppress(OSError):
            self._server.sendall(self._first)
            while data := self._server.recv(65536):
                for event in codec.feed(data):
                    if isinstance(event, Packet | Interrupt):
                        self._answer(event.payload if isinstance(event, Packet) else b"\x03")

    def _answer(self, request: bytes) -> None:
        self.requests.append(request)
        matching = [key for key in self._answers if request.startswith(key)]
        answer = self._answers[max(matching, key=len)] if matching else [encode(b"")]
        if request != b"\x03":
            self._server.sendall(b"+")
        for piece in answer(request) if callable(answer) else answer:
            if piece == self.HANG_UP:
                self._server.shutdown(socket.SHUT_RDWR)
            else:
                self._server.sendall(piece)
