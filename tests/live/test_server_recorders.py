"""What klosdbg's own sessions do under the clients of its server: none of them hears of it."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache

import pytest
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.layout import members
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, needs_klos
from tests.live.patience import until
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import needs_qemu

pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    needs_klos,
    pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb"),
]
READY = ("run", "--headless", "-c", "until klos_ready")
RECORDING = (*READY, "-c", "events start --stopping")
BUSY = ("run", "--headless", "--append", "seed=7 run=touch:1000000", "-c", "until klos_ready")
SLOW = ("-icount", "shift=7,align=on")
"""An instruction in 128 ns at most: the ring lasts for seconds."""
TIMER, SLEEP = 32, 48
RING = 8192


def events(said: str) -> Iterator[dict[str, object]]:
    for row in re.findall(r'^\{"schema": "klosdbg/event/1".*\}$', said, re.M):
        yield json.loads(row)


def stops(said: str) -> list[str]:
    return re.findall(r"^Thread .* (hit Breakpoint \d|received signal \w+)", said, re.M)


@cache
def event_count() -> int:
    """Find where the guest counts its events."""
    info = SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),)).address("klos_info")
    assert info is not None
    return info + next(each.offset for each in members(KlosInfo) if each.name == "event_count")


def counted(client: Raw) -> int:
    """Ask for a little: the client's recorder waits while an answer is made."""
    reply = client.ask(b"m%x,4" % event_count())
    return int.from_bytes(bytes.fromhex(reply.decode()), "little")


def test_a_recorder_of_the_served_session() -> None:
    """The guest stops at its places a dozen times, and gdb at its own three times."""
    with serving(*RECORDING) as path:
        said = gdb(path, "break event_timer", "c", "c", "c", image=KLOS)
    assert stops(said) == ["hit Breakpoint 1"] * 3


def test_a_recorder_of_the_clients_own() -> None:
    with serving(*READY) as path:
        said = gdb(path, "tbreak thread_sleep_ticks", "c", "monitor klos events start --stopping",
                   "break event_timer", "c", "c", "c", "monitor klos events stop",
                   "monitor klos events show --json", "stepi", image=KLOS)  # fmt: skip
    assert stops(said) == ["hit Breakpoint 2"] * 3
    found = list(events(said))
    assert [event["vector"] for event in found].count(TIMER) == 3
    assert SLEEP in {event["vector"] for event in found}
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))


def test_a_condition_that_does_not_hold() -> None:
    """Of a breakpoint of klosdbg's, one that does, and one of gdb's at the same place."""
    asked = f'monitor klos b event {SLEEP} if process == "%s"'
    with serving(*READY) as path:
        said = gdb(path, asked % "nobody", "break event_timer", "c", "delete",
                   asked % "pong", "c", "monitor klos ps", "break *$pc", "c", "monitor klos ps",
                   image=KLOS)  # fmt: skip
    assert stops(said) == ["hit Breakpoint 1", "received signal SIGTRAP", "hit Breakpoint 2"]
    running = re.findall(r"^\* *\d+ +(\w+)", said, re.M)
    assert running[:1] == ["pong"]


def test_a_command_of_a_client() -> None:
    """It waits for the guest as gdb does."""
    with serving(*RECORDING) as path:
        said = gdb(path, "monitor klos until event_timer", "monitor klos until event_timer",
                   "monitor klos regs", image=KLOS)  # fmt: skip
    assert said.count("<event_timer>") >= 3
    assert "core_out" not in said


def test_an_interrupt_while_stops_are_quiet() -> None:
    with serving(*BUSY, "-c", "events start --stopping") as path:
        client = Raw(path)
        for _ in range(5):
            client.send(b"c")
            client.socket.sendall(b"\x03")
            assert client.receive().startswith(b"T02")
        client.close()


def test_the_ring_is_read_while_the_guest_runs() -> None:
    """More events come in one run than it holds, and none is lost."""
    with serving(*BUSY, "--", *SLOW) as path:
        client = Raw(path)
        # Twenty thousand events are long in the making, and their document before it begins.
        client.socket.settimeout(120)
        client.monitor("klos events start --ring -n 20000")
        enough = counted(client) + 20000
        client.send(b"c")
        until(lambda: counted(client) >= enough, patience=120)
        client.socket.sendall(b"\x03")
        assert client.receive().startswith(b"T02")
        client.monitor("klos events stop")
        assert "\n20000 events" in client.monitor("klos events stats")
        shown = client.monitor("klos events show --json")
        first = next(events(shown))["seq"]
        assert isinstance(first, int)
        last = client.monitor(f"klos events show --json --if 'seq == {first + 19999}'")
        client.close()
    assert RING < 19999
    assert len(list(events(last))) == 1
    assert "are left out: ask for less" in shown
