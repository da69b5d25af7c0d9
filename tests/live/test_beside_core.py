"""Events of KLOS that do not go through its event core: a task gate's, the benchmark's traps."""

from collections.abc import Iterator

import pytest
from klosdbg.read import read_tss
from klosdbg.x86.errorcode import decode_error_code
from tests.live.driver import KLOS, Driver, assert_fits, driving, needs_klos
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, pytest.mark.xdist_group("events")]
BENCHMARK_TRAP = 50
NO_RING0_STACK = "set 0xff800f9c 0xf8001000"


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(KLOS, append="seed=7") as found:
        found.line("until klos_ready")
        yield found


def test_a_double_fault_is_an_event(driver: Driver) -> None:
    """The source is what the processor saved in the TSS of the task that it left."""
    session = driver.session
    driver.line("events start --stopping")
    driver.line(NO_RING0_STACK)
    driver.line("until core_halt")
    driver.line("events stop")
    event = session.events[-1]
    assert (event.vector, event.error_code, event.complete) == (8, 0, False)
    assert event.stub == driver.address("double_fault_entry")
    assert event.stub_symbol == "double_fault_entry"
    assert event.error == decode_error_code(0, 8)
    saved = session.target.linear.read(0xFF800F98, 104)
    eip, cs, esp, ss = (int.from_bytes(saved[at : at + 4], "little") for at in (32, 76, 56, 80))
    source = event.source
    assert (source.eip, source.cs, source.esp, source.ss, source.cpl) == (eip, cs, esp, ss, 3)
    out = event.out
    assert out is not None
    assert (out.instruction, out.from_cpl, out.to_cpl) == ("task switch", 3, 0)
    assert (out.eip, out.cs) == (event.stub, 0x08)
    assert (out.esp, out.ss) == (driver.address("fault_stack_top"), 0x10)
    assert event.handler is None
    assert event.process is not None
    assert read_tss(session.target).fields["eip"] == event.stub
    assert "task switch at idt+0x40, ring 3 to 0" in driver.line("events show --tree --vector DF")


def test_a_stop_at_a_double_fault(driver: Driver) -> None:
    """Where its task begins, and of the program that the TSS says was left."""
    driver.line("b event 8 if process == 'nobody'")
    driver.line("b event 8 if cpl == 3 and error_code == 0 and process != None")
    driver.line(NO_RING0_STACK)
    stop = driver.models("c")
    assert (stop["linear"], stop["breakpoint"]) == (driver.address("double_fault_entry"), 2)


def test_the_benchmarks_traps_are_events(driver: Driver) -> None:
    """They stay in ring 0, and come back with an IRET to where they were made."""
    session = driver.session
    driver.line(f"events start --stopping --vector {BENCHMARK_TRAP}")
    driver.line("bench-services")
    driver.line("events stop")
    assert len(session.events) > 1000
    assert [event.seq for event in session.events] == list(range(1, len(session.events) + 1))
    for event in session.events:
        assert (event.vector, event.depth, event.process) == (BENCHMARK_TRAP, 1, "bench")
        assert (event.stub, event.handler, event.out) == (
            driver.address("comparison_trap"),
            None,
            None,
        )
        assert event.back is not None
        assert event.back.kind == "iret"
        assert event.resumed is not None
        assert (event.resumed.changed, event.resumed.process) == (False, "bench")


def test_handlers_tells_what_really_happens(driver: Driver) -> None:
    """Neither a task gate nor the benchmark's gate leads to a handler in ring 3."""
    rows = {row["vector"]: row for row in driver.models("handlers")["handlers"]}
    fault, trap = rows[8], rows[BENCHMARK_TRAP]
    assert (fault["gate"], fault["stub_symbol"]) == ("task-gate", "double_fault_entry")
    assert (trap["gate"], trap["stub_symbol"]) == ("interrupt-gate", "comparison_trap")
    assert fault["handler"] is trap["handler"] is None
    assert rows[14]["stub_symbol"] == "Event14_Ring0Stub"
    assert rows[14]["handler_symbol"] == "event_exception"
    shown = driver.line("handlers")
    assert "task: <double_fault_entry>" in shown
    assert_fits(shown)
