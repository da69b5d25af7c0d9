"""What hardware would have done: the probe guest, KLOS, Bochs and the host's processor agree."""

import io
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from klosdbg.errors import CommandError, UsageError
from klosdbg.images import PROBE
from klosdbg.klos.mailbox import run_for
from klosdbg.klos.outcomes import read_outcomes
from klosdbg.session import Session
from klosdbg.targets.probe import run_probe
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.x86.enforcement import ProbeReport, decode_probe_report
from tests import bochs
from tests.build import make
from tests.live.driver import KLOS, Driver, assert_fits, driving, launched, needs_klos
from tests.live.patience import PATIENCE, until
from tests.live.probing import report_of_bochs
from tests.live.test_hostprobe import HOSTPROBE, ask
from tests.live.test_probe import NEVER_ENFORCED, QEMU
from tests.live.tiny import image, set_mode

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not shutil.which(QEMU), reason="apt install qemu-system-x86"),
    pytest.mark.xdist_group("silicon"),
]

# The guest's own debug register fires at this row before a breakpoint of ours can.
NOT_STOPPED_AT = {"dr0-execute"}
INSTRUCTIONS = 20
"""Enough to end each row: sixteen elements of a string, or the way to the handler of its end."""

Found = dict[str, list[dict[str, Any]]]


@contextmanager
def probe(*extra: str) -> Iterator[Driver]:
    make(PROBE.parents[1])
    with driving(PROBE, "-cpu", "max", *extra) as driver:
        yield driver


def at_row(driver: Driver, row: str) -> None:
    driver.line(f"until row_{row.replace('-', '_')}")


@pytest.fixture(scope="module")
def not_enforced() -> set[str]:
    """Ask the probe which rows this QEMU does not enforce."""
    return {row.id for row in run_probe("tcg", QEMU, PROBE, 100.0).rows if not row.enforced}


def run_rows(console: Path, option: str) -> tuple[Found, ProbeReport]:
    """Judge every row of the probe; return what was refused in each, and the guest's report."""
    rows = [row.id for row in run_probe("tcg", QEMU, PROBE, PATIENCE).rows]
    found: Found = {}
    with probe("-debugcon", f"file:{console}") as driver:
        for row in rows:
            if row not in NOT_STOPPED_AT:
                at_row(driver, row)
                document = driver.models(f"silicon -n {INSTRUCTIONS} {option}")
                found[row] = document["refused"]
        driver.line("until leave_machine")
    return found, decode_probe_report(console.read_text())


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return run_rows(tmp_path_factory.mktemp("passed") / "console", "")[0]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, ProbeReport]:
    return run_rows(tmp_path_factory.mktemp("delivered") / "console", "--deliver")


def test_every_violation_is_found_and_no_other(passed: Found, not_enforced: set[str]) -> None:
    """The 26 segment violations, #AC, the limit before a page fault, what else passes: one each."""
    assert {row for row, refused in passed.items() if refused} == not_enforced
    assert {row: len(refused) for row, refused in passed.items() if len(refused) > 1} == {}
    assert len(NEVER_ENFORCED - {"alignment-check", "limit-before-page-fault"}) == 26


def test_the_exception_is_the_expected_one(passed: Found, not_enforced: set[str]) -> None:
    """Vector and error code are those that the row expects of hardware, at the row's address."""
    lines = PROBE.with_suffix(".sym").read_text().splitlines()
    symbols = {line.split()[2]: int(line.split()[0], 16) for line in lines}
    expected = {row.id: row.expected for row in run_probe("tcg", QEMU, PROBE).rows}
    for row in not_enforced:
        (refused,) = passed[row]
        assert refused["exception"] == expected[row], row
        assert refused["linear"] == symbols[f"row_{row.replace('-', '_')}"], row


def test_delivered_rows_end_as_on_hardware(
    delivered: tuple[Found, ProbeReport], not_enforced: set[str]
) -> None:
    """With the exceptions delivered, the guest reports no difference to hardware any more."""
    found, report = delivered
    assert report.complete
    assert [f"{row.id}: {row.got}" for row in report.rows if not row.enforced] == []
    assert {row for row, refused in found.items() if refused} == not_enforced
    assert all(refused["delivered"] for row in found.values() for refused in row)


@pytest.mark.bochs
@pytest.mark.skipif(bochs.available() is not None, reason=bochs.available() or "")
def test_delivered_rows_end_as_under_bochs(
    delivered: tuple[Found, ProbeReport], not_enforced: set[str]
) -> None:
    """The very outcomes are those of Bochs, which enforces everything."""
    ours = {row.id: row.got for row in delivered[1].rows}
    theirs = {row.id: row.got for row in report_of_bochs().rows}
    assert {row: ours[row] for row in not_enforced} == {row: theirs[row] for row in not_enforced}


def test_the_processor_agrees(passed: Found, not_enforced: set[str]) -> None:
    """Where a process of the host can have a row, the verdict is the host processor's."""
    make(HOSTPROBE)
    rows = [r for r in decode_probe_report(ask("segments32")).rows if r.tested and r.id in passed]
    refused = {row.id: [r["exception"] for r in passed[row.id]] for row in rows}
    assert refused == {row.id: [row.got] if row.id in not_enforced else [] for row in rows}
    assert sum(bool(found) for found in refused.values()) >= 20


def test_what_follows_is_counted_not_repeated(passed: Found) -> None:
    """Eight elements past the limit are one refusal, and so is the code behind a wild jump."""
    assert passed["rep-movsb-crossing-limit"][0]["followed"] == 7
    assert passed["near-jmp-past-limit"][0]["followed"] == 2


def test_a_range_is_judged_alone() -> None:
    """Outside the range the guest runs at full speed, and --until ends it there too."""
    with probe() as driver:
        words = "silicon --range code_read_at_limit row_moffs_past_limit --until code_read_null_es"
        document = driver.models(words)
        assert document["end"] == "until"
        names = [refused["symbol"].split("+")[0] for refused in document["refused"]]
        assert names == [
            "row_read_past_limit_byte",
            "row_write_past_limit",
            "row_read_straddling_limit",
            "row_read_wrapping_4g",
            "row_read_past_limit_page",
            "row_moffs_past_limit",
        ]
        assert document["instructions"] < 100


def test_text_is_readable() -> None:
    """Exception, place, instruction and reason; what was written; nothing over 80 columns."""
    with probe() as driver:
        at_row(driver, "push-past-limit")
        shown = driver.line("silicon -n 1 --deliver")
        assert_fits(shown)
        assert "#SS(0) 0x" in shown
        assert "write of 4 bytes at ss:0x1000: past the limit 0xfff [limit]" in shown
        assert "eip " in shown
        assert "\n1 instruction: 1 refused by hardware\nnow at 0008:" in shown
        assert "hardware would refuse nothing" in driver.line("silicon -n 3")


def test_what_cannot_be_delivered() -> None:
    """A task gate, or none, is refused in one line, and the registers stay as they were."""
    with probe() as driver:
        at_row(driver, "write-past-limit")
        idt = int(driver.models("idt")["base"])
        before = driver.line("regs")
        driver.line(f"set {idt + 8 * 13 + 4:#x} 0x8500")
        with pytest.raises(CommandError, match="task gate"):
            driver.line("silicon -n 1 --deliver")
        driver.line(f"set {idt + 8 * 13 + 4:#x} 0")
        with pytest.raises(CommandError, match="#DF"):
            driver.line("silicon -n 1 --deliver")
        assert driver.line("regs") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n 0", "at least 1"),
        ("--range row_moffs_past_limit code_read_at_limit", "A first"),
        ("--until nosuch", "no symbol"),
    ],
)
def test_bad_input(words: str, message: str) -> None:
    """Each mistake is one line that says what to write."""
    with probe() as driver, pytest.raises((CommandError, UsageError), match=message):
        driver.line(f"silicon {words}")


def test_ctrl_c_ends_it_with_what_was_found() -> None:
    """The report is shown, the exit code is 130."""
    words = ("run", "--headless", "--image", str(PROBE), "--timeout", "0")
    judge = ("-c", "until row_push_past_limit", "-c", "silicon -n 10000000")
    with launched(*words, *judge) as process:
        assert process.stderr is not None
        assert "instructions" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "until Ctrl-C: 1 refused by hardware" in shown


def test_time_runs_out_with_what_was_found() -> None:
    """The report is shown, and the error says how far it came."""
    with probe() as driver:
        at_row(driver, "push-past-limit")
        driver.session.timeout = 0.1
        with pytest.raises(CommandError, match=r"\d+ instructions took 0.1 s"):
            driver.line("silicon -n 1000000")
        assert isinstance(driver.out, io.StringIO)
        assert "until time was up: 1 refused by hardware" in driver.out.getvalue()


@pytest.mark.parametrize("name", [QEMU, "qemu-system-x86_64"])
def test_firmware_is_not_refused(name: str) -> None:
    """SeaBIOS from its first instruction, through real, unreal and protected mode."""
    if not shutil.which(name):
        pytest.skip("apt install qemu-system-x86")
    session = Session(timeout=PATIENCE)
    session.attach(start_qemu(QemuOptions(headless=True, qemu=name)))
    driver = Driver(session, io.StringIO())
    try:
        assert "1200 instructions: hardware would refuse nothing" in driver.line("silicon -n 1200")
    finally:
        session.detach()


def test_a_triple_fault_ends_it() -> None:
    """The report is shown, and the error is that of a shut-down."""
    with driving(image()) as driver:
        driver.line("until loop")
        set_mode(driver.session.target, 2)
        with pytest.raises(CommandError, match=r"shut down at 0008:.*'reset'"):
            driver.line("silicon -n 1000")
        assert isinstance(driver.out, io.StringIO)
        assert "until the guest shut down" in driver.out.getvalue()


@needs_klos
def test_a_process_is_judged_alone() -> None:
    """What it executes is judged whenever it runs; its end, and who there is, are told."""
    with driving(KLOS) as driver:
        driver.line("until klos_ready")
        assert await_process(driver, "ping")
        document = driver.models("silicon --process ping -n 300")
        assert (document["end"], document["instructions"]) == ("count", 300)
        assert document["refused"] == []
        assert int(driver.models("regs")["cr3"], 16) == await_process(driver, "ping")
        with pytest.raises(CommandError, match="no process is 'nosuch': there are"):
            driver.line("silicon --process nosuch")


@needs_klos
@pytest.mark.parametrize(("option", "verdict"), [("", "not-enforced"), ("--deliver", "pass")])
def test_an_attack_on_klos(option: str, verdict: str) -> None:
    """DSAPP's limit is what stops dsapp-read; with the fault delivered, KLOS says so itself."""
    with driving(KLOS) as driver:
        (refused,) = judge_attack(driver, "dsapp-read", "read_os", option)
        assert (refused["rule"], refused["exception"]) == ("limit", "#GP(0)")
        assert (refused["segment"], refused["cpl"]) == ("ds", 3)
        assert refused["symbol"].startswith("read_os")
        assert refused["offset"] > refused["limit"]
        assert attack_result(driver) == verdict


@needs_klos
def test_an_instruction_of_ring_0(not_enforced: set[str]) -> None:
    """WBINVD is refused where the emulator lets it pass; with the fault delivered KLOS holds."""
    with driving(KLOS) as driver:
        refused = judge_attack(driver, "privileged", "try_wbinvd", "--deliver")
        expected = [("privilege", "#GP(0)", 3, "wbinvd")] if "wbinvd" in not_enforced else []
        found = [(r["rule"], r["exception"], r["cpl"], r["instruction"]) for r in refused]
        assert found == expected
        assert attack_result(driver) == "pass"


def judge_attack(driver: Driver, attack: str, function: str, option: str) -> list[dict[str, Any]]:
    """Start an attack, and judge ten instructions from its function on."""
    driver.line("until klos_ready")
    driver.line(f"b {function}")
    with pytest.raises(CommandError, match="breakpoint"):
        driver.line(f"mailbox attacks {attack}")
    driver.line("del 1")
    refused: list[dict[str, Any]] = driver.models(f"silicon -n 10 {option}")["refused"]
    return refused


def await_process(driver: Driver, name: str) -> int:
    """Let KLOS run until there is a process of that name; return its CR3."""

    def found() -> list[int]:
        run_for(driver.session.control, 0.05)
        return [p["cr3"] for p in driver.models("ps")["processes"] if p["name"] == name]

    until(found)
    return found()[0]


def attack_result(driver: Driver) -> str:
    """Let KLOS finish the attack that was asked for, and read its verdict."""
    session = driver.session

    def ended() -> bool:
        run_for(session.control, 0.05)
        return results() not in ([], ["fail"])

    def results() -> list[str]:
        return [t.result for t in read_outcomes(session.target, session.symbols, "attacks").tests]

    until(ended)
    return results()[0]
