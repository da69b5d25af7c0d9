"""The events commands: recording, following, stopping at one, a guest without a profile."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.errors import CommandError, TargetLost, UsageError
from klosdbg.recording.discovery import discover
from tests.build import make
from tests.live.driver import KLOS, Driver, assert_fits, driving, klosdbg, launched, needs_klos
from tests.live.klos import DETERMINISTIC
from tests.live.patience import PATIENCE, until
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]
PROBE = KLOS.parents[1] / "probe"


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(KLOS, append="seed=7") as found:
        found.line("until klos_ready")
        yield found


@pytest.fixture
def counted() -> Iterator[Driver]:
    """KLOS whose clock is its count of instructions: its ticks come where they came before."""
    with driving(KLOS, *DETERMINISTIC, append="seed=7") as found:
        found.line("until klos_ready")
        yield found


def documents(driver: Driver, line: str) -> list[dict[str, object]]:
    return [json.loads(row) for row in driver.line(f"{line} --json").splitlines()]


def test_record_show_and_count(driver: Driver) -> None:
    """N events, shown a line each, as a tree, and counted."""
    assert "recorded: 40 events" in driver.line("events record -n 40")
    shown = documents(driver, "events show")
    assert [event["seq"] for event in shown] == list(range(1, 41))
    assert all(event["time"]["perturbed"] for event in shown)  # type: ignore[index]
    for line in ("events show", "events show --tree", "events stats"):
        assert_fits(driver.line(line))
    (counted,) = documents(driver, "events stats")
    assert counted["total"] == 40
    assert {event["name"] for event in shown} <= {"IRQ 0", "commit", "trap"}
    assert sum(row["count"] for row in counted["vectors"]) == 40  # type: ignore[attr-defined]


def test_what_is_discovered(driver: Driver) -> None:
    """The way out and the way back are what the symbols say, found without them."""
    session = driver.session
    paths = discover(session.target)
    gate = paths.return_gate
    assert gate is not None
    assert [session.symbol(e.address) for e in paths.outward if e.kind == "lret"] == ["core_out"]
    assert (gate.selector, session.symbol(gate.entry)) == (0x3B, "return_gate")
    assert "core_resume" in {session.symbol(e.address) for e in gate.exits}
    assert [session.symbol(paths.stubs[v].entry) for v in (0, 13, 255)] == [
        "Event0_Ring0Stub",
        "Event13_Ring0Stub",
        "Event255_Ring0Stub",
    ]
    assert paths.stubs[8].kind == "task-gate"


def test_through_the_mailbox(driver: Driver) -> None:
    """What a request makes happen is recorded by either recorder."""
    for kind in ("--ring", "--stopping"):
        driver.line(f"events start {kind} --vector NP")
        driver.line("mailbox touch 9")
        driver.line("events stop")
        shown = documents(driver, "events show")
        assert [(e["name"], e["process"]) for e in shown] == [("#NP", "touch")] * 9
        assert driver.line("events show --if 'error.index == 0'") == ""


def test_the_ring_of_a_guest_that_was_reset(driver: Driver) -> None:
    """It counts its events anew, and its pids begin again."""
    driver.line("events start --ring --vector NP")
    driver.line("mailbox run recover")
    driver.line("reset")
    driver.line("until klos_ready")
    driver.line("mailbox touch 9")
    driver.line("events stop")
    shown = [event["process"] for event in documents(driver, "events show")]
    assert shown[-9:] == ["touch"] * 9


def test_a_filter_by_vector_stops_only_there(counted: Driver) -> None:
    """Stops are spent on the vectors that are wanted."""
    counted.line("events start --stopping -v 13")
    counted.line("mailbox run ports-closed")
    (recorded,) = documents(counted, "events stop")
    assert recorded["events"] == 9
    assert recorded["stops"] == 27


def test_stop_at_an_event(driver: Driver) -> None:
    """The guest stops where the expression holds, and nowhere else."""
    driver.line('b event 48 if process == "pong" and depth == 1')
    stop = driver.models("c")
    assert (stop["symbol"], stop["breakpoint"]) == ("Event48_Ring0Stub", 1)
    assert "[pong]" in f"[{process_name(driver)}]"
    assert_fits(driver.line("info b"))
    driver.line("del")
    driver.line('b event 0x30 if process == "nobody"')
    driver.session.timeout = 0.3
    with pytest.raises(CommandError, match="did not stop"):
        driver.line("c")


def process_name(driver: Driver) -> str:
    processes = driver.models("ps")
    return next(p["name"] for p in processes["processes"] if p["pid"] == processes["current_pid"])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("events record", "without a terminal"),
        ("events follow", "without a terminal"),
        ("events record -n 0", "at least one"),
        ("events record -n 3 --vector 300", "no vector"),
        ("events record -n 3 --range 5", "no range"),
        ("events record -n 3 --if 'vektor == 1'", "did you mean vector"),
        ("events start --ring --stopping", "exclude each other"),
        ("events stop", "no events are being recorded"),
        ("events show", "no events were recorded"),
        ("b event 11 when cpl == 3", "write 'if'"),
        ("b event 11 if", "write 'if'"),
        ("b event 11 if process == attacker", "if it is text"),
    ],
)
def test_what_is_refused(line: str, why: str) -> None:
    with driving(KLOS) as driver:
        driver.line("until klos_ready")
        with pytest.raises((CommandError, UsageError), match=why):
            driver.line(line)
        assert driver.session.tracer is None


def test_a_time_out_keeps_what_there_is(driver: Driver) -> None:
    def end(_progress: str) -> None:
        if driver.session.events:
            driver.session.timeout = 0.5

    driver.session.progress = end
    with pytest.raises(CommandError, match=r"only \d+ events came .* ask for fewer with -n"):
        driver.line("events record -n 100000")
    assert driver.session.tracer is None
    assert documents(driver, "events show")


def test_a_breakpoint_ends_a_recording(driver: Driver) -> None:
    driver.line("b event_timer")
    shown = driver.line("events record -n 1000")
    assert "something else stopped the guest" in shown
    assert "<event_timer>" in shown


def test_until_goes_on_over_the_recorder(counted: Driver) -> None:
    counted.line("events start --stopping")
    stop = counted.models("until core_out")
    assert stop["symbol"] == "core_out"
    assert counted.models("until core_resume")["symbol"] == "core_resume"
    counted.line("s 3")
    counted.line("until core_resume")
    counted.line("events stop")
    assert [event["complete"] for event in documents(counted, "events show")] == [True, True]


def test_follow_ends_by_itself(driver: Driver) -> None:
    rows = documents(driver, "events follow -n 12")
    assert len(rows) == 12
    assert driver.session.tracer is None
    assert not driver.session.control.running


@pytest.mark.parametrize(
    ("command", "stream", "sign"),
    [("record", "stderr", r"klosdbg: \d+ events, "), ("follow", "stdout", "seq vector ")],
)
def test_ctrl_c_ends_a_recording(command: str, stream: str, sign: str) -> None:
    """In batch with exit code 130; how many events came is all that is said."""
    words = ["run", "--headless", "-c", "until klos_ready", "-c", f"events {command} -n 1000000"]
    with launched(*words) as process:
        assert any(re.match(sign, line) for line in getattr(process, stream)), "it has begun"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert re.search(r"^klosdbg: recorded until Ctrl-C: \d+ events$", said, re.M)


def test_a_guest_that_dies(driver: Driver) -> None:
    """What was recorded stays; its RAM is shared, so its last events can still be read."""
    driver.line("events start")
    driver.line("c &")
    tracer = driver.session.tracer
    assert tracer is not None
    until(lambda: tracer.poll() or driver.session.events)
    recorded = len(documents(driver, "events show"))
    assert driver.session.target.monitor is not None
    driver.session.target.monitor.command("quit")
    driver.line("events stop")
    assert driver.session.tracer is None
    assert len(driver.session.events) >= recorded
    with pytest.raises(TargetLost):
        driver.line("regs")


def test_a_guest_without_a_profile() -> None:
    """The probe guest: another system, its stubs found in the IDT alone."""
    make(PROBE)
    commands = ("events record -n 60", "events show --json")
    ran = klosdbg(
        "run",
        "--headless",
        "--image",
        str(PROBE / "build" / "probe.elf"),
        *[word for command in ("until trap", *commands) for word in ("-c", command)],
    )
    assert ran.code == 0, ran.err
    events = [json.loads(row) for row in ran.out.splitlines() if row.startswith("{")]
    assert len(events) >= 60
    assert {event["vector"] for event in events} >= {6, 13, 128}
    faults = [event for event in events if event["vector"] == 13]
    assert all(event["error_code"] is not None for event in faults)
    assert all(event["source"]["symbol"] for event in faults)
    assert all(event["process"] is None for event in events)


def test_klos_without_its_description(tmp_path: Path) -> None:
    """A KLOS that describes itself to nobody is traced like any other system.

    Its clock is its instructions: by the host's, a busy machine makes each timer event switch
    threads, and those have no end that a stranger sees.
    """
    image = tmp_path / "stranger.elf"
    image.write_bytes(KLOS.read_bytes().replace(b"KLOSINFO", b"STRANGER"))
    with driving(image, "-icount", "shift=0,sleep=off") as driver:
        driver.line("until klos_ready")
        driver.line("events record -n 30")
        shown = documents(driver, "events show")
    assert len(shown) == 30
    assert {event["out"]["instruction"] for event in shown} == {"lret"}  # type: ignore[index]
    back = [event["back"] for event in shown if event["complete"]]
    assert len(back) > 3
    assert all(way["kind"] == "call-gate" for way in back)  # type: ignore[index]
    assert {event["handler_symbol"] for event in shown} <= {"event_timer", "event_commit"}
