"""Both recorders in one boot: they agree with each other, and with QEMU's own log of interrupts."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from klosdbg.errors import TargetTimeout
from klosdbg.events.event import Event
from klosdbg.events.filters import EventFilter
from klosdbg.klos.recorder.ring import RingRecorder
from klosdbg.recording.stopping import StoppingRecorder
from klosdbg.recording.tracer import Tracer
from klosdbg.running.execution import stop_here
from tests.live.driver import KLOS, Driver, driving, needs_klos
from tests.live.patience import until
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, pytest.mark.xdist_group("events")]

WANTED = 2000
EXCEPTIONS = {0, 1, 10, 11, 12, 13, 14}
TIMER, KEYBOARD, SERIAL, COMMIT, TRAP = 32, 33, 36, 48, 49
ROWS = (
    "recover",
    "handler-chain",
    "unhandled-fault",
    "ports-closed",
    "nesting",
    "single-step",
    "relocation",
    "forged-events",
    "gate",
    "gate-nt",
    "gate-tf",
    "nt-iret",
    "privileged",
    "step-prologue",
    "prologue-middle",
    "guess-ss",
)
_LOGGED = re.compile(
    r"^ *\d+: v=(..) e=(....) i=(.) cpl=(.) IP=(....):([0-9a-f]{8}) pc", re.MULTILINE
)
_INT_N = 2


@dataclass
class Both:
    """What both recorders, and QEMU's log, say of one boot."""

    driver: Driver
    stopping: list[Event] = field(default_factory=list)
    ring: list[Event] = field(default_factory=list)
    logged: list[tuple[int, ...]] = field(default_factory=list)
    lost: int = 0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Run tests, attacks, keys and the serial line under both recorders."""
    directory = tmp_path_factory.mktemp("events")
    log, wire = directory / "int.log", directory / "serial"
    extra = ("-icount", "shift=0", "-d", "int", "-D", str(log))
    extra += ("-serial", f"unix:{wire},server=on,wait=off")
    with driving(KLOS, *extra, append="seed=7") as driver:
        driver.line("until klos_ready")
        before = log.stat().st_size
        found = Both(driver)
        with socket.socket(socket.AF_UNIX) as serial:
            serial.connect(str(wire))
            _record(found, serial)
        found.logged = _log(log.read_text()[before:])
        yield found


def _record(both: Both, serial: socket.socket) -> None:
    session = both.driver.session
    ring = RingRecorder(session.target, session.symbols)

    def keep(event: Event) -> None:
        both.stopping.append(event)
        if len(both.stopping) % 20 == 0:
            both.ring += ring.poll()

    source = StoppingRecorder(session.target, session.symbols, follow=session.system.follow_events)
    session.tracer = Tracer(source, EventFilter(), None, keep)
    ring.start()
    for row in ROWS:
        both.driver.line(f"mailbox run {row}")
    serial.sendall(b"over the wire")
    _press(both)
    while len(both.stopping) < WANTED:
        both.driver.line("mailbox run guesser 60")
    session.tracer.stop()
    session.tracer = None
    both.ring += ring.stop()
    both.lost = ring.lost
    both.stopping.sort(key=lambda event: event.seq)


def _press(both: Both) -> None:
    """Press a key while the guest runs: a stopped one hears nothing."""
    session = both.driver.session
    assert session.target.monitor is not None
    monitor = session.target.monitor

    def heard() -> bool:
        session.control.resume()
        monitor.command("sendkey a")
        with suppress(TargetTimeout):
            session.control.next_stop(0.05)
        stop_here(session, session.control.interrupt())
        return any(event.vector == KEYBOARD for event in both.stopping)

    until(heard)


def _log(text: str) -> list[tuple[int, ...]]:
    """Read vector, error code, cs, eip and cpl of each event that gets to a stub's handler."""
    entries = [[int(part, 16) for part in row] for row in _LOGGED.findall(text)]
    reached = []
    for vector, error, software, cpl, cs, eip in entries:
        refused = software and vector not in (COMMIT, TRAP)
        cleared_in_the_core = vector == 1 and cpl == 0
        if not refused and not cleared_in_the_core:
            reached.append((vector, error, cs, eip + _INT_N * software, cpl))
    return reached


def facts(event: Event) -> tuple[object, ...]:
    """What both recorders have to agree on."""
    source, resumed = event.source, event.resumed
    where = (source.cs, source.eip, source.linear, source.cpl, source.ss, source.esp)
    ended = resumed and (resumed.place.eip, resumed.idle, resumed.changed, resumed.tid)
    kind = (event.vector, event.error_code, event.cr2, event.origin, event.depth)
    way = (event.stub, event.out, event.handler, event.back, event.tlb_flush, event.eoi)
    return (*kind, *where, *way, event.pid, event.tid, ended)


def test_the_recorders_agree(both: Both) -> None:
    """Sequence, vector, error code, source, way out, handler, way back, return, thread."""
    assert both.lost == 0
    whole = [event for event in both.stopping if event.complete]
    assert len(whole) >= WANTED
    assert len(both.ring) - len(whole) in (0, 1)
    assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
    first = both.ring[0].seq
    assert [event.seq - first for event in both.ring] == list(range(len(both.ring)))
    differences = [
        (facts(stopped), facts(written))
        for stopped, written in zip(whole, both.ring, strict=False)
        if facts(stopped) != facts(written)
    ]
    assert differences == []


def test_every_kind_is_among_them(both: Both) -> None:
    """All exceptions that the tests raise, timer, keyboard, serial line, nested events."""
    seen = Counter(event.vector for event in both.ring)
    assert set(seen) >= EXCEPTIONS | {TIMER, KEYBOARD, SERIAL, COMMIT, TRAP}
    assert {event.depth for event in both.ring} == {1, 2}
    assert {event.origin for event in both.ring} == {"program", "idle", "gate"}
    assert {event.source.cpl for event in both.ring} == {0, 3}


def test_qemu_logged_the_same(both: Both) -> None:
    """Vector, error code and address are those that QEMU delivered, event for event."""
    gate = both.driver.address("return_gate")
    expected = []
    for event in both.stopping:
        place = (event.source.cs, event.source.eip, event.source.cpl)
        if event.origin == "gate":
            place = (0x08, gate, 0)
        if event.origin != "gate" or event.vector != 13:
            expected.append((event.vector, event.error_code or 0, *place))
    logged = [
        (vector, error if _pushes(vector) else 0, *place) for vector, error, *place in both.logged
    ]
    assert logged[: len(expected)] == expected
    assert len(logged) - len(expected) in (0, 1)


def _pushes(vector: int) -> bool:
    return vector in (8, 10, 11, 12, 13, 14, 17)


def test_the_way_out_is_seen(both: Both) -> None:
    """The far return to ring 3, its stack, and the gate that leads back."""
    core_out = both.driver.address("core_out")
    for event in both.stopping:
        assert event.out is not None
        assert (event.out.instruction, event.out.address) == ("lret", core_out)
        assert (event.out.from_cpl, event.out.to_cpl) == (0, 3)
        assert event.out.eip == event.handler
        assert event.out.esp is not None
    stacks = {event.depth: event.out.esp for event in both.stopping if event.out}
    assert stacks[2] < stacks[1]
    assert all(event.back and event.back.kind == "call-gate" for event in both.ring)


def test_few_stops(both: Both) -> None:
    """What the stopping recorder needs: two stops an event, and no data watchpoint."""
    driver = both.driver
    (recorded,) = driver.line("events record -n 50 --json").splitlines()
    assert '"stops": 100,' in recorded or '"stops": 101,' in recorded


def test_the_ring_does_not_stop_the_guest(both: Both) -> None:
    """A guest that runs goes on running while its ring is read, and its clock with it."""
    session = both.driver.session
    both.driver.line("c &")
    both.driver.line("events record --ring -n 30")
    assert session.control.running
    assert [event.recorder for event in session.events] == ["ring"] * 30
    both.driver.line("interrupt")
