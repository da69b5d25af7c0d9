"""What trips a client at QEMU's own stub, checked at both ends: it trips there, and not here.

The stub's half of each test says what QEMU does today: it fails when QEMU mends it.
"""

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from klosdbg.targets.qmp import Qmp
from klosdbg.wire.rsp import encode
from klosdbg.wire.rsp_replies import Transfer
from klosdbg.wire.target_xml import included, parse_target_xml
from tests.live.driver import stub
from tests.live.patience import PATIENCE, until
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import needs_qemu, symbols

pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb"),
]

LOOP, COUNTER = symbols()["loop"], symbols()["counter"]
MAPPED_END = 0x400000


@contextmanager
def qemu_itself() -> Iterator[str]:
    """Yield the socket of QEMU's stub, its guest stopped before its first instruction."""
    with stub(running=False) as sockets:
        yield sockets["gdb"].removeprefix("unix:")


@contextmanager
def klosdbg_serves() -> Iterator[str]:
    """Yield the socket of klosdbg's server in front of such a stub."""
    with (
        stub(running=False) as sockets,
        serving("serve", sockets["gdb"], "--qmp", sockets["qmp"]) as path,
    ):
        yield path


def speak(path: str) -> Raw:
    """Connect and read the description, without which QEMU answers no ``p``."""
    client = Raw(path)
    client.ask(b"qXfer:features:read:target.xml:0,ffb")
    return client


def run_to_loop(client: Raw) -> None:
    assert client.ask(b"Z0,%x,1" % LOOP) == b"OK"
    assert client.stop(b"c").startswith(b"T05")


def counter(client: Raw) -> int:
    return int.from_bytes(bytes.fromhex(client.ask(b"m%x,4" % COUNTER).decode()), "little")


def test_a_code_segment_with_a_base_hides_breakpoints_from_gdb() -> None:
    look = (f"break *{LOOP:#x}", "c", "c", "x/i $pc")

    def hits(path: str) -> tuple[int, bool]:
        said = gdb(path, *look)
        return said.count("Breakpoint 1, "), f"=> {LOOP:#x}:\tincl" in said

    with qemu_itself() as path:
        assert hits(path) == (0, False)
    with klosdbg_serves() as path:
        assert hits(path) == (2, True)


def test_continuing_from_a_breakpoint_does_not_advance() -> None:
    def counted(path: str) -> int:
        client = speak(path)
        run_to_loop(client)
        before = counter(client)
        for _ in range(20):
            assert client.stop(b"c").startswith(b"T05")
        count = counter(client) - before
        client.close()
        return count

    with qemu_itself() as path:
        assert counted(path) == 0
    with klosdbg_serves() as path:
        assert counted(path) == 20


def test_reading_a_guest_that_runs_stops_it() -> None:
    """QEMU's stub takes the packet for an interrupt, of which some of its releases tell nothing."""

    def speak_to_running(path: str) -> Raw:
        client = speak(path)
        run_to_loop(client)
        client.ask(b"z0,%x,1" % LOOP)
        client.send(b"c")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.receive()
        client.socket.settimeout(PATIENCE)
        client.send(b"m%x,4" % COUNTER)
        return client

    with stub(running=False) as sockets, closing(Qmp(sockets["qmp"])) as qmp:
        client = speak_to_running(sockets["gdb"].removeprefix("unix:"))
        until(lambda: qmp.status() == "paused")
        reply = client.ask(b"m%x,4" % COUNTER)
        if reply == b"T02thread:01;":
            reply = client.receive()
        assert re.fullmatch(rb"[0-9a-f]{8}", reply)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError, match="timed out"):
            client.receive()  # what was sent first, which is lost
        client.close()
    with klosdbg_serves() as path:
        client = speak_to_running(path)
        assert re.fullmatch(rb"[0-9a-f]{8}", client.receive())
        client.close()


def test_small_packets_and_one_client() -> None:
    asked = {
        "acks": b"QStartNoAckMode",
        "binary": b"x%x,4" % COUNTER,
        "checksum": b"qCRC:%x,4" % COUNTER,
        "search": b"qSearch:memory:%x;4;a" % COUNTER,
    }

    def lacking(path: str, patience: float) -> set[str]:
        client = speak(path)
        size = int(client.ask(b"qSupported").split(b"PacketSize=")[1].partition(b";")[0], 16)
        missing = {name for name, packet in asked.items() if client.ask(packet) in (b"", b"E22")}
        missing |= {"size"} if size <= 0x1000 else set()
        missing |= set() if answers_another(path, patience) else {"second client"}
        client.close()
        return missing

    with qemu_itself() as path:
        assert lacking(path, 1) == {*asked, "size", "second client"}
    with klosdbg_serves() as path:
        assert lacking(path, PATIENCE) == set()


def answers_another(path: str, patience: float) -> bool:
    with socket.socket(socket.AF_UNIX) as second:
        second.connect(path)
        second.settimeout(patience)
        second.sendall(encode(b"qAttached"))
        try:
            return second.recv(100) != b""
        except TimeoutError:
            return False


def test_registers_in_comments_shift_the_numbers_of_a_search_for_text() -> None:
    def misread(path: str) -> set[str]:
        documents = descriptions(path)
        everything = b"".join(documents.values()).decode()
        searched = set(re.findall(r'<reg name="([^"]+)"', everything))
        return searched - {register.name for register in parse_target_xml(documents).registers}

    with qemu_itself() as path:
        assert misread(path) == {"ss_base", "ds_base", "es_base"}
    with klosdbg_serves() as path:
        assert misread(path) == set()


def descriptions(path: str) -> dict[str, bytes]:
    """Read ``target.xml`` and what it includes."""
    client = Raw(path)
    documents: dict[str, bytes] = {}
    wanted = ["target.xml"]
    while wanted:
        name = wanted.pop()
        transfer = Transfer("features", name, 0xFF0)
        while not transfer.done:
            transfer.feed(client.ask(transfer.request()))
        documents[name] = transfer.data
        wanted += included(transfer.data)
    client.close()
    return documents


def test_a_read_that_ends_in_an_unmapped_page_is_refused_whole() -> None:
    """An IDTR whose limit is 0xffff asks for 64 KiB where less is mapped."""

    def found(path: str) -> bytes:
        client = speak(path)
        run_to_loop(client)
        reply = client.ask(b"m%x,7ff" % (MAPPED_END - 8))
        client.close()
        return reply

    with qemu_itself() as path:
        assert found(path) == b"E14"
    with klosdbg_serves() as path:
        assert found(path) == b"0" * 16
