"""The server without a guest that runs: mutated packets, hostile clients, and where it listens."""

import gc
import random
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from klosdbg.errors import UsageError
from klosdbg.ports import StopEvent
from klosdbg.server.client import MOST_OUTPUT, Client, Gone
from klosdbg.server.hub import Hub
from klosdbg.server.listen import listen
from klosdbg.server.packets import answer
from klosdbg.server.server import MOST_CLIENTS, Server
from klosdbg.session import Session
from klosdbg.wire.rsp import checksum, encode
from tests.live.patience import until
from tests.live.serving import Raw
from tests.unit.klos.frozen import place, symbols, target

ROUNDS = 20_000
SEEDS = b"""
? g p8 p73 P0=00000000 mc0100000,40 xc0100000,40 Mc0150000,2:9090 Xc0150000,2:}\x03
Z0,c0100000,1 z0,c0100000,1 Z1,c0100000,1 Z2,c0100000,4 vCont? vCont;c vCont;s:1;c vCont;t c
s C05 Hg1 Hc-1 Hgp1.1 T1 qC qfThreadInfo qsThreadInfo qThreadExtraInfo,1 qAttached D
qSupported:swbreak+;xmlRegisters=i386 QStartNoAckMode qRcmd,6b6c6f7320676474
qXfer:features:read:target.xml:0,fff qXfer:osdata:read:gdt:0,fff qXfer:osdata:read::0,1
qXfer:threads:read::0,fff qqemu.PhyMemMode Qqemu.PhyMemMode:1 qRcmd,6b6c6f73206b G00000000
Z0,c0100000,1;X3,220127 vKill;1 qMemoryRegionInfo:c0100000 qCRC:c0100000,20
qSearch:memory:c0100000;20;ab qXfer:memory-map:read::0,fff vMustReplyEmpty qHostInfo qSymbol:: ! R00
""".split()


class Control:
    """Run control of a guest that stops as soon as it is interrupted, or stepped."""

    def __init__(self) -> None:
        self.running = False
        self.breakpoints: list[int] = []

    def resume(self) -> None:
        self.running = True

    def wait(self, _timeout: float | None) -> StopEvent:
        return StopEvent("interrupt", 2)

    def step(self) -> StopEvent:
        return StopEvent("step", 5)

    def interrupt(self) -> StopEvent:
        self.running = False
        return StopEvent("interrupt", 2)

    def insert(self, address: int) -> None:
        self.breakpoints.append(address)

    def remove(self, address: int) -> None:
        self.breakpoints.remove(address)

    def reset(self) -> StopEvent:
        return StopEvent("interrupt", 2)


def frozen(control: Control) -> Session:
    session = Session(symbols=symbols(), timeout=5.0)
    session.attach(replace(target(), control=control))
    return session


def mutate(rng: random.Random, payload: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at:at] = rng.randbytes(rng.randrange(1, 6))
        elif kind == 1:
            del changed[at : at + rng.randrange(1, 4)]
        elif kind == 2 and at < len(changed):
            changed[at] = rng.choice(b"0123456789abcdef,;:-=$#}*\x00\x03\xff")
        else:
            changed += rng.choice(SEEDS)[: rng.randrange(8)]
    return bytes(changed)


def test_mutated_packets_are_all_answered() -> None:
    """Every packet has one answer, or is a resume; nothing else is raised, nothing grows."""
    rng = random.Random(0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        hub = Hub(frozen(Control()))
        client = Client(ours, 1, hub.session())
        hub.join(client)
        for _ in range(ROUNDS):
            packet = mutate(rng, rng.choice(SEEDS))
            try:
                answer(hub, client, packet)
                assert client._output or client.waiting, packet
            except Gone:
                assert packet[:1] == b"k"
            client._output.clear()
            client.waiting = client.leaving = False
            if hub.controller is None:
                hub.take_control(client)
            if hub.control and hub.control.running:
                hub.control.interrupt()
        assert len(client.events) == 0
        hub.leave(client)


@contextmanager
def server(directory: Path) -> Iterator[tuple[Server, Control, str]]:
    """Serve a frozen guest from a thread."""
    control = Control()
    path = f"{directory}/s"
    served = Server(frozen(control), listen(f"unix:{path}"))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            served.run()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield served, control, path
    finally:
        served.stop()
        with socket.socket(socket.AF_UNIX) as waker:
            waker.connect_ex(path)
        thread.join(20)
    assert not thread.is_alive()
    assert failures == []


def greets(client: Raw) -> None:
    """Check that a well-behaved client is served."""
    assert client.ask(b"m%x,8" % place("klos_info")) == b"KLOSINFO".hex().encode()


def answers(path: str) -> bool:
    """Tell whether one more client is served: not while the places are taken."""
    try:
        client = Raw(path)
    except (AssertionError, OSError):
        return False
    greets(client)
    client.close()
    return True


def resident() -> int:
    """Give the bytes of memory that this process holds, without what nobody uses any more."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def half_a_packet(peer: socket.socket) -> None:
    peer.sendall(b"$mc0100000,4")


def wrong_checksums(peer: socket.socket) -> None:
    peer.sendall(b"$g#00" * 2000)


def garbage(peer: socket.socket) -> None:
    peer.sendall(random.Random(1).randbytes(100_000))


def no_end(peer: socket.socket) -> None:
    peer.sendall(b"$")
    for _ in range(1024):
        peer.sendall(b"a" * 0x10000)


def interrupts(peer: socket.socket) -> None:
    body = b"mc01\x0300000,4"
    peer.sendall(b"\x03" * 5000 + b"$%b#%02x" % (body, checksum(body)) + b"\x03")


def refusals(peer: socket.socket) -> None:
    peer.sendall(encode(b"g") + b"-" * 5000)


def leaves_in_mid_reply(peer: socket.socket) -> None:
    peer.sendall(encode(b"qRcmd," + b"klos gdt".hex().encode()) * 3)
    peer.recv(10)


def never_reads(peer: socket.socket) -> None:
    peer.setblocking(False)
    flood = encode(b"qXfer:osdata:read:gdt:0,fff") * 100
    for _ in range(200):
        try:
            peer.sendall(flood)
        except BlockingIOError:
            break


def out_of_range(peer: socket.socket) -> None:
    far = b"f" * 16
    peer.sendall(b"".join(map(encode, (
        b"m0,ffffffff", b"m%b,%b" % (far, far), b"x0,7fffffff", b"qCRC:0,ffffffff",
        b"qXfer:osdata:read:gdt:%b,%b" % (far, far), b"qXfer:features:read:target.xml:-1,fff",
        b"qSearch:memory:0;%b;ab" % far, b"Z0,%b,%b" % (far, far), b"P%b=00" % far,
        b"vCont" + b";c:1" * 4000, b"Hg%b" % far, b"p%b" % far,
    ))))  # fmt: skip


def comes_and_goes(peer: socket.socket) -> None:
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as another:
            another.connect(peer.getpeername())
            another.sendall(b"$g")


HOSTILE = (
    out_of_range, comes_and_goes, half_a_packet, wrong_checksums, garbage, no_end, interrupts,
    refusals, leaves_in_mid_reply, never_reads,
)  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__)
def test_a_hostile_client_harms_nobody(
    short_path: Path, attack: Callable[[socket.socket], None]
) -> None:
    """While it is connected, and after it has gone, others are served, and memory is bounded.

    The first time, the allocator takes what it then keeps.
    """
    with server(short_path) as (served, _control, path):
        bystander = Raw(path)
        held = []
        for _ in range(2):
            grown, before = [], resident()
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                with suppress(BrokenPipeError, ConnectionResetError):
                    attack(peer)
                until(lambda: answers(path))
                greets(bystander)
                held += [len(client._output) for client in served.hub.clients]
                grown.append(resident() - before)
            until(lambda: answers(path))
            greets(bystander)
            grown.append(resident() - before)
        assert max(held) <= MOST_OUTPUT // 8
        assert max(grown) < 32 << 20
        bystander.close()
        until(lambda: not served.hub.clients)


def test_a_browser_is_dropped_before_its_packets_count(short_path: Path) -> None:
    post = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + encode(b"Mc0100000,1:90") * 2
    with server(short_path) as (served, _control, path), socket.socket(socket.AF_UNIX) as browser:
        before = served.hub.target.linear.read(0xC0100000, 1)
        browser.connect(path)
        browser.settimeout(20)
        browser.sendall(post)
        with suppress(ConnectionResetError):
            while browser.recv(100):
                pass
        until(lambda: not served.hub.clients)
        assert served.hub.target.linear.read(0xC0100000, 1) == before != b"\x90"


def test_a_client_that_vanishes_leaves_no_breakpoints(short_path: Path) -> None:
    with server(short_path) as (_served, control, path):
        client = Raw(path)
        for address in (0x1000, 0x2000):
            assert client.ask(b"Z0,%x,1" % address) == b"OK"
        client.send(b"c")
        until(lambda: control.running)
        client.close()
        until(lambda: control.breakpoints == [] and control.running)


def test_there_are_only_so_many_clients(short_path: Path) -> None:
    with server(short_path) as (served, _control, path), ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            stack.callback(Raw(path).close)
        with socket.socket(socket.AF_UNIX) as one_more:
            one_more.connect(path)
            one_more.settimeout(20)
            assert one_more.recv(1) == b""
        assert len(served.hub.clients) == MOST_CLIENTS


def test_it_listens_where_others_cannot_reach_it(short_path: Path) -> None:
    short_path.chmod(0o755)
    with pytest.raises(UsageError, match="others can enter"):
        listen(f"unix:{short_path}/s")
    for reachable in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
        with pytest.raises(UsageError, match="reached from other machines"):
            listen(reachable)
    with pytest.raises(UsageError, match=r"write unix:PATH or 127\.0\.0\.1:PORT"):
        listen("nowhere")
    exposed = listen(f"unix:{short_path}/s", exposed=True)
    with pytest.raises(UsageError, match="in use"):
        listen(f"unix:{short_path}/s", exposed=True)
    exposed.close()
    assert not (short_path / "s").exists()
    loopback = listen("127.0.0.1:0")
    assert not loopback.name.endswith(":0")
    loopback.close()


def test_the_socket_of_a_dead_server_is_replaced_and_a_file_is_not(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{short_path}/s")
    listen(f"unix:{short_path}/s").close()
    (short_path / "s").write_text("mine")
    with pytest.raises(UsageError):
        listen(f"unix:{short_path}/s")
    assert (short_path / "s").read_text() == "mine"
