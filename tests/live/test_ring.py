"""The ring recorder on a guest in a hurry: nothing is lost, everybody has a name."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from klosdbg.errors import MemoryFault
from klosdbg.klos.find import booted_klos
from klosdbg.recording.os_memory import pinned_memory
from klosdbg.running.execution import run_to, stop_here
from tests.live.driver import KLOS, PACED, Driver, driving, klosdbg, needs_klos
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, pytest.mark.xdist_group("events")]
SHORT_LIVED = 40
MOST_NESTED = 4
COUNT = re.compile(r"recorded: (\d+) events")


@pytest.fixture(scope="module")
def counted() -> Iterator[Driver]:
    """A guest whose time stamp counter counts instructions."""
    with driving(KLOS, "-icount", "shift=0", append="seed=7") as driver:
        driver.line("until klos_ready")
        yield driver


def test_a_whole_selftest_loses_nothing() -> None:
    """More events than the ring holds, and each process that hit one has a name."""
    lines = ("until klos_ready", "events start", "selftest", "mailbox run touch 1000")
    shown = ("events stop", "events show --json")
    words = [word for line in (*lines, *shown) for word in ("-c", line)]
    done = klosdbg("run", "--headless", *words, "--", *PACED)
    assert done.code == 0, done.err
    found = COUNT.search(done.out)
    assert found is not None
    assert int(found[1]) > 8192
    assert "overwritten" not in done.out
    numbers = re.findall(r'^\{"schema": "klosdbg/event/1", "seq": (\d+)', done.out, re.MULTILINE)
    first = int(numbers[0])
    assert list(map(int, numbers)) == list(range(first, first + int(found[1])))
    assert '"process": null, "pid": 0' in done.out
    assert re.findall(r'"process": null, "pid": [1-9]\d*', done.out) == []


def test_ctrl_c_loses_nothing_that_is_not_told() -> None:
    """Klosdbg is busy all the time. What the guest was about is neither recorded nor lost."""
    main = threading.main_thread().ident
    assert main is not None
    with driving(KLOS, append="seed=7 run=touch:1000000") as driver:
        driver.session.interactive = True
        driver.line("until klos_ready")
        for pause in (0.0, 0.1, 0.2):
            press = threading.Timer(pause, signal.pthread_kill, [main, signal.SIGINT])
            driver.session.progress = once(press.start)
            before = driver.models("klos")["event_count"]
            said = driver.line("events record --ring -n 1000000")
            assert "recorded until Ctrl-C" in said
            lost = sum(map(int, re.findall(r"(\d+) more were overwritten", said)))
            numbers = [event.seq for event in driver.session.events]
            assert numbers == sorted(set(numbers))
            assert 0 <= numbers[-1] - before - len(numbers) - lost <= MOST_NESTED


def once(act: Callable[[], None]) -> Callable[[str], None]:
    """Act at the first progress that is shown: the recording has begun."""
    acts = [act]
    return lambda _: acts.pop()() if acts else None


def test_processes_that_are_gone_keep_their_names(counted: Driver) -> None:
    """More of them than the process table holds come and go before the ring is looked at."""
    session = counted.session
    counted.line("events start --ring")
    tracer, session.tracer = session.tracer, None
    assert tracer is not None
    for number in range(SHORT_LIVED):
        counted.line(f"mailbox run {'touch' if number % 2 else 'guesser'} 1")
    session.tracer = tracer
    counted.line("events stop")
    assert tracer.state().lost == 0
    named = {event.pid: event.process for event in session.events if event.pid}
    assert len(named) > SHORT_LIVED
    assert None not in named.values()


def test_instructions_of_the_stub_are_counted(counted: Driver) -> None:
    """What single steps count from the stub's reading of the counter to the handler's."""
    session = counted.session
    counted.line("events start --ring")
    counted.line("mailbox run touch 1")
    counted.line("events stop")
    commit = [event for event in session.events if (event.vector, event.depth) == (48, 1)]
    assert {event.spent.stub for event in commit} == {steps_in_between(counted)}
    assert all(event.spent.handler and event.spent.handler > 0 for event in commit)


def steps_in_between(driver: Driver) -> int:
    session = driver.session
    assert session.symbols is not None
    stub = session.symbols.address("Event48_Ring0Stub")
    assert stub is not None
    driver.line("mailbox start touch 1")
    stop = run_to(session, stub, "no commit came")
    reads: list[int] = []
    for number in count():
        if stop.instruction is not None and stop.instruction.mnemonic == "rdtsc":
            reads.append(number)
        if len(reads) == 2:
            return reads[1] - reads[0]
        stop = stop_here(session, session.control.step())
    raise AssertionError


def test_the_way_out_is_in_the_ring(counted: Driver) -> None:
    """The handlers' stack for the first, and the interrupted handler's below it."""
    session = counted.session
    info = booted_klos(session.target, session.symbols).info
    counted.line("events start --ring")
    counted.line("mailbox run nesting")
    counted.line("events stop")
    outs = {event.depth: event.out for event in session.events if event.out}
    first, nested = outs[1], outs[2]
    assert first.esp is not None
    assert nested.esp is not None
    assert info.handler_stack_top - 16 <= first.esp < info.handler_stack_top
    assert info.handler_stack_bottom < nested.esp < first.esp
    assert {(out.ss, out.to_cpl) for out in outs.values()} == {(info.dsos, 3)}
    assert first.esp0 == info.core_stack_top - info.frame_size
    assert nested.esp0 == first.esp0 - info.frame_size


def test_pinned_memory_is_linear_memory(counted: Driver) -> None:
    """Also over the ends of pages, and where nothing is mapped."""
    session = counted.session
    info = booted_klos(session.target, session.symbols).info
    pinned = pinned_memory(session.target)
    for address, size in (
        (info.events.address, 1 << 16),
        (info.names.address + 1, 3),
        (info.idt, 8),
    ):
        assert pinned.read(address, size) == session.target.linear.read(address, size)
    with pytest.raises(MemoryFault):
        pinned.read(0xFFFF0000, 4)
