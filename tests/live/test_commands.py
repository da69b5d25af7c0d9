"""Every command on a live guest: what it shows, and what it does."""

import json
from collections.abc import Iterator

import pytest
from klosdbg.errors import CommandError, KlosdbgError
from tests.live.driver import (
    KLOS,
    Driver,
    driving,
    needs_klos,
    run_tiny,
)
from tests.live.patience import PATIENCE
from tests.live.tiny import image, needs_qemu, set_mode, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def tiny() -> Iterator[Driver]:
    """The tiny guest, counting, 16 MiB of memory."""
    with driving(image(), "-m", "16") as driver:
        driver.line("until loop")
        yield driver


@pytest.fixture(scope="module")
def klos() -> Iterator[Driver]:
    """KLOS, stopped at ``klos_ready``."""
    with driving(KLOS, append="seed=7") as driver:
        driver.line("until klos_ready")
        yield driver


@needs_klos
@pytest.mark.xdist_group("klos")
def test_tables_of_klos(klos: Driver) -> None:
    """Slots have their roles, runs of equal slots are one item, gates name their targets."""
    gdt = klos.models("gdt")
    names = {entry["name"]: entry for entry in gdt["entries"]}
    assert (gdt["limit"], sum(e["count"] for e in gdt["entries"])) == (0xFFFF, 8192)
    assert names["gate"]["symbol"] == "return_gate"
    assert not names["csos"]["readable"]
    assert "slots: not-present data, dpl 3" in klos.line("gdt")
    assert klos.line("gdt --all").count("\n") > 8192
    assert klos.models("sel dsos")["name"] == "dsos"
    assert "not present" in klos.line("gdt 8191")
    idt = klos.models("idt 14")
    assert idt["entries"][0]["name"] == "#PF"


@needs_klos
@pytest.mark.xdist_group("klos")
def test_walks_of_klos(klos: Driver) -> None:
    """Each ends where QEMU's own does, or at the entry that is missing."""
    monitor = klos.session.target.monitor
    assert monitor is not None
    for wanted in ("klos_ready", "ss:esp", "gdt", "klos_info"):
        walked = klos.models(f"walk {wanted}")
        assert (
            monitor.command(f"gva2gpa {walked['linear']}").strip() == f"gpa: {walked['physical']}"
        )
        assert [entry["name"] for entry in walked["entries"]] == ["pde", "pte"]
        assert walked["findings"] == []
    assert "user, writable, 4 KiB page" in klos.line("walk ss:esp")
    assert "not mapped: the pde is not present" in klos.line("walk 0x12345678")


@needs_klos
@pytest.mark.xdist_group("klos")
def test_ports_of_klos(klos: Driver) -> None:
    """The bitmap refuses what the TSS does not allow."""
    assert klos.models("tss")["iomap_base"] >= 0x68
    port = klos.models("port 0x3f8")
    assert (port["allowed"], port["rule"]) == (False, "bit-set")


def test_stops(tiny: Driver) -> None:
    """Breakpoints count hits, steps are counted, and a stop says where the guest stands."""
    assert tiny.models("b loop_end")["number"] == 1
    assert tiny.models("b counter")["number"] == 2
    stop = tiny.models("c")
    assert (stop["reason"], stop["breakpoint"], stop["symbol"]) == ("breakpoint", 1, "loop_end")
    assert (stop["linear"], stop["eip"]) == (
        symbols()["loop_end"],
        symbols()["loop_end"] - 0x100000,
    )
    assert tiny.models("s 2")["reason"] in ("step", "breakpoint")
    tiny.line("c")
    tiny.line("del 2")
    listed = tiny.models("info b")["breakpoints"]
    assert [(b["number"], b["hits"], b["wanted"]) for b in listed] == [(1, 2, "loop_end")]
    assert tiny.models("del")["breakpoints"] == []


def test_step_over_and_finish() -> None:
    """``n`` runs what a call runs; ``finish`` runs to the caller, without DWARF as well."""
    with driving(image()) as driver:
        driver.line("until based")
        assert driver.models("n")["symbol"] == "based+0x5"
        assert driver.models("n")["reason"] == "step"
    with driving(image()) as driver:
        driver.line("until program_timer")
        assert driver.models("s")["symbol"].startswith("program_timer+")
        assert driver.models("finish")["symbol"] == "based+0x5"


@needs_klos
def test_finish_by_dwarf() -> None:
    """``finish`` finds the caller through the call-frame information."""
    with driving(KLOS, append="seed=7") as driver:
        driver.line("until console_write")
        caller = driver.models("finish")
        assert not caller["symbol"].startswith("console_write")
        assert driver.models("dis")["instructions"][0]["current"]


def test_writing(tiny: Driver) -> None:
    """``set`` prints what it changed, and changes no more than that."""
    assert tiny.line("set eax 0x12").endswith(" -> 0x12\n")
    assert tiny.models("regs")["eax"] == 0x12
    assert tiny.line("set ds:counter 0x1234 -w w").endswith(": 0000 -> 1234\n")
    assert tiny.models("mem counter 4")["bytes"] == "34120000"
    for line in ("set counter 0x100000000", "set counter 256 -w b", "set counter x"):
        with pytest.raises(KlosdbgError):
            tiny.line(line)
    with pytest.raises(KlosdbgError, match="gs did not take"):
        tiny.line("set gs 0x1b -w d")


def test_console_and_reset(tiny: Driver) -> None:
    """The console keeps what the guest printed; a reset begins at the reset vector."""
    assert tiny.line("console") == "K\n"
    assert tiny.models("reset")["linear"] == 0xFFFFFFF0
    assert tiny.models("until loop")["symbol"] == "loop"


def test_detach_and_quit(tiny: Driver) -> None:
    """After ``detach`` there is no target; ``quit`` ends the run."""
    tiny.line("detach")
    with pytest.raises(CommandError, match="no target: start one"):
        tiny.line("regs")
    tiny.line("quit")
    assert tiny.session.leaving


def test_batch() -> None:
    """Commands run in order, from ``-c``, from a file or from standard input."""
    lines = "# where it stands\nuntil loop\n\nregs --json\nquit\nnonsense\n"
    result = run_tiny(stdin=lines)
    stop, document = result.out.splitlines()[0], result.out.splitlines()[-1]
    assert (result.code, result.err) == (0, "")
    assert stop.startswith("breakpoint: ring 0, 0008:")
    assert json.loads(document)["eip"] == symbols()["loop"] - 0x100000


def test_json_lines(tmp_path: object) -> None:
    """``--json`` prints one document a line and nothing else; diagnostics go elsewhere."""
    result = run_tiny("until loop", "gdt", "c &", "regs --stop", extra=("--json",))
    schemas = [json.loads(line)["schema"] for line in result.out.splitlines()]
    assert schemas == [f"klosdbg/{name}/1" for name in ("stop", "gdt", "running", "regs")]
    assert result.err == "klosdbg: regs: stopped the guest, read, and resumed it\n"


def test_a_failure_ends_the_run() -> None:
    """What follows it does not run; the exit code is the failure's."""
    result = run_tiny("sel nonsense", "regs")
    assert (result.code, result.out) == (1, "")
    result = run_tiny("regs --nonsense", "regs")
    assert (result.code, result.out) == (2, "")


def test_a_halted_guest_steps(tiny: Driver) -> None:
    """A halted processor waits for the timer."""
    set_mode(tiny.session.target, 1)
    assert tiny.models("until halted")["symbol"] == "halted"
    assert tiny.models("s")["schema"] == "klosdbg/stop/1"


def test_many_steps_are_bounded_in_time(tiny: Driver) -> None:
    """``s N`` ends at the time-out, and where a breakpoint stands."""
    tiny.session.timeout = 0.2
    with pytest.raises(CommandError, match=r"of 10000000 instructions took 0.2 s: .*--timeout 0"):
        tiny.line("s 10000000")
    tiny.session.timeout = PATIENCE
    tiny.line("b loop")
    assert tiny.models("s 1000")["breakpoint"] == 1
    assert tiny.models("n 1000")["breakpoint"] == 1
    assert tiny.models("info b")["breakpoints"][0]["hits"] == 2


def test_a_dump_ends_where_memory_ends(tiny: Driver) -> None:
    """Without a size it shows what there is; with one it says how much that is."""
    end = 1 << 22
    assert tiny.models(f"mem {end - 8}")["size"] == 8
    with pytest.raises(CommandError, match="only the first 8 are mapped"):
        tiny.line(f"mem {end - 8} 16")
    with pytest.raises(KlosdbgError, match="not mapped"):
        tiny.line(f"mem {end}")
