"""gdb's commands in klosdbg's shell, on the source and the variables of KLOS."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.errors import CommandError, UsageError
from klosdbg.factories import LocalFactories
from tests.live.driver import KLOS, Driver, Result, driving, klosdbg, needs_klos
from tests.live.patience import until
from tests.live.serving import Raw, serving
from tests.live.terminal import CTRL_C, ENTER, TAB, children, on_terminal
from tests.live.test_server import needs_gdb
from tests.live.tiny import image, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, needs_gdb]

READY = ("run", "--headless", "--append", "seed=1", "-c", "until klos_ready")
SHELL = (*READY, "-i")
PROMPT = r"\(klosdbg ring[03] [0-9a-f]{4}:[0-9a-f]{8} [^)]*\)"


@pytest.fixture(scope="module")
def klos() -> Iterator[Driver]:
    """Stop KLOS where it is ready, for tests that need not start anew."""
    with driving(KLOS, append="seed=1") as driver:
        driver.session.factories = LocalFactories()
        driver.line("until klos_ready")
        yield driver


def batch(*lines: str) -> Result:
    """Run commands at ``klos_ready``."""
    return klosdbg(*READY, *(word for line in lines for word in ("-c", line)))


def test_gdb_knows_the_source() -> None:
    """After the first ``gdb`` its commands need no prefix; ours keep their names."""
    ran = batch(
        "gdb bt", "list", "p klos_info.magic", "ptype struct klos_info", "info locals", "info b"
    )
    assert ran.code == 0, ran.err
    assert "#0  klos_ready () at os/system.c:" in ran.out
    assert "#1  0x" in ran.out
    assert "KLOS_FLAG_READY" in ran.out
    assert '$1 = "KLOSINFO"' in ran.out
    assert "type = struct klos_info {" in ran.out
    assert ran.out.endswith("No locals.\nno breakpoints\n")
    assert ran.err == ""


def test_what_gdb_refuses_is_a_failed_command() -> None:
    ran = batch("gdb p nosuch", "p 1")
    assert ran.code == 1
    assert ran.err == 'klosdbg: gdb: No symbol "nosuch" in current context.\n'
    assert "$1" not in ran.out


def test_nothing_goes_to_gdb_before_it_is_asked_for() -> None:
    ran = batch("list")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "unknown command 'list'" in ran.err
    assert "'gdb list ...'" in ran.err


def test_without_gdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = str(image())
    for name in ("qemu-system-i386", "sh"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    for line, code, said in (("gdb bt", 1, "apt install gdb"), ("list", 2, "lists the commands")):
        ran = klosdbg("run", "--headless", "--image", tiny, "-c", line)
        assert (ran.code, ran.err.count("\n")) == (code, 1), ran.err
        assert said in ran.err
        assert "asks gdb" not in ran.err


def test_json_has_a_document_for_each_command(klos: Driver) -> None:
    shown = klos.models("gdb bt")
    assert list(shown) == ["schema", "command", "output", "error"]
    assert shown["schema"] == "klosdbg/gdb/1"
    assert (shown["command"], shown["error"]) == ("bt", None)
    assert shown["output"].count("\n") == 3
    with pytest.raises(CommandError, match="No symbol"):
        klos.line("gdb p nosuch --json")
    assert isinstance(klos.out, type(klos.out))
    assert json.loads(klos.out.getvalue())["error"].startswith("gdb: No symbol")  # type: ignore[attr-defined]


def test_what_is_typed_reaches_gdb_as_it_is(klos: Driver) -> None:
    assert klos.line('gdb printf "%d  # \'b\\n", 7') == "7  # 'b\n"
    assert klos.line("gdb p -5").endswith(" = -5\n")
    assert klos.line("gdb echo \\033[2Jred\\n").startswith("�[2J")
    assert klos.line("  # a comment") == ""
    assert "usage: gdb" in klos.line("gdb --help")


IN_KLOS_READY = "\tklos_info.flags |= KLOS_FLAG_READY;"
"""A line of a function that is inlined nowhere, where gdb would set more than one breakpoint."""


def test_a_line_of_source_is_an_address() -> None:
    """``b file.c:12`` stops at the same place whichever of the two sets it."""
    source = (KLOS.parents[1] / "os" / "system.c").read_text().splitlines()
    line = f"os/system.c:{source.index(IN_KLOS_READY) + 1}"
    ran = batch(f"b {line}", f"gdb b {line}", "info b", f"gdb info line {line}")
    assert ran.code == 0, ran.err
    places = re.findall(r"0x[0-9a-f]{8}", "".join(ran.out.splitlines(keepends=True)[2:]))
    assert len(places) >= 5
    assert len(set(places[:5])) == 1, ran.out
    assert "gdb's: 0x" in ran.out
    for line, said in (("b system.c:99999", "no code from there on"), ("b no.c:1", "no.c:1: no")):
        assert said in batch(line).err


def test_both_see_each_others_breakpoints_and_stops() -> None:
    ran = batch("b return_gate", "gdb tbreak service_clock", "c", "bt", "del", "gdb stepi 2",
                "gdb b return_gate", "s 3", "c", "gdb p $pc", "gdb continue")  # fmt: skip
    assert ran.code == 0, ran.err
    assert "breakpoint 1: ring 0" in ran.out
    assert "#0  return_gate () at core/return_gate.S:" in ran.out
    assert "step: ring 0" in ran.out
    assert re.search(r"= \(void \(\*\)\(\)\) 0x[0-9a-f]+ <return_gate>", ran.out)
    assert re.search(r"hit Breakpoint 2, return_gate \(\)", ran.out)
    assert re.search(r"breakpoint: ring 0, 0008:[0-9a-f]{8} <return_gate>\n.*\n\Z", ran.out)


def test_where_the_code_base_is_not_zero() -> None:
    loop = symbols()["loop"]
    words = [f"gdb b *{loop:#x}", "gdb continue", "gdb p $eip", "gdb continue", "regs"]
    chosen = [word for line in words for word in ("-c", line)]
    ran = klosdbg("run", "--headless", "--image", str(image()), *chosen)
    assert ran.code == 0, ran.err
    assert ran.out.count("Breakpoint 1, ") == 2
    assert ran.out.count(f"(linear {loop:#010x})") == 2
    assert f"{loop:#x} <loop>" in ran.out


def test_gdb_takes_its_time_and_no_more(klos: Driver) -> None:
    """A command of gdb's takes milliseconds once it has been started; a run ends by its time."""
    klos.session.leave_debugger()
    start = seconds(klos, "gdb")
    once = min(seconds(klos, "gdb p klos_info.version") for _ in range(20))
    assert once < start / 10
    ran = klosdbg("run", "--headless", "--timeout", "2", "-c", "gdb continue")
    assert ran.code == 1
    assert "interrupt: ring" in ran.out
    assert ran.err.count("\n") == 1
    assert "did not end within 2 s" in ran.err


def seconds(klos: Driver, line: str) -> float:
    began = time.monotonic()
    klos.line(line)
    return time.monotonic() - began


def test_gdb_ends_and_starts_again(klos: Driver) -> None:
    klos.line("gdb p 1")
    assert "starts it again" in klos.line("gdb quit")
    with pytest.raises(UsageError, match="unknown command 'bt'"):
        klos.line("bt")
    klos.line("gdb")
    os.kill(gdb_of(os.getpid()), signal.SIGKILL)
    assert re.search("gdb has ended|#0  klos_ready", said_or_error(klos, "bt"))
    assert "#0  klos_ready" in klos.line("gdb bt"), "it starts again"
    klos.line("gdb detach")
    assert "#0  klos_ready" in klos.line("gdb bt"), "it comes back"


def said_or_error(klos: Driver, line: str) -> str:
    try:
        return klos.line(line)
    except CommandError as error:
        return str(error)


@pytest.mark.parametrize("line", ["gdb commands 1", "gdb while 1", "gdb python", "gdb define x"])
def test_what_would_wait_for_more_lines_is_refused(klos: Driver, line: str) -> None:
    with pytest.raises(CommandError, match="gdb source FILE"):
        klos.line(line)


def test_it_is_not_for_clients_of_the_server() -> None:
    with serving("run", "--headless", "-c", "until klos_ready") as path:
        client = Raw(path)
        assert "a gdb of your own" in client.monitor("klos gdb shell id")
        assert "unknown command 'list'" in client.monitor("klos list")
        client.close()


def test_a_capture_has_its_source_too(tmp_path: Path) -> None:
    capture = tmp_path / "bug.klos"
    ran = klosdbg("capture", "-o", str(capture), "--headless", "-c", "until klos_ready")
    assert ran.code == 0, ran.err
    opened = ("open", str(capture), "--symbols", str(KLOS))
    ran = klosdbg(*opened, "-c", "gdb bt", "-c", "p klos_info.magic", "-c", "gdb stepi")
    assert ran.code == 1
    assert "#0  klos_ready () at os/system.c:" in ran.out
    assert '"KLOSINFO"' in ran.out
    assert "cannot run: it is a recording" in ran.err


def gdb_of(pid: int) -> int:
    """Find the gdb among a process's children: a loader may have started it, under its own name."""
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)}
    (found,) = (child for child, line in lines.items() if b"--interpreter=mi3" in line)
    return found


def said_by_guest(pid: int) -> bytes:
    """Read the console of the QEMU among a process's children."""
    lines = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)]
    (found,) = (match for line in lines if (match := re.search(rb"/[^=\0,]+/console\.log", line)))
    return Path(os.fsdecode(found[0])).read_bytes()


def test_at_the_prompt(tmp_path: Path) -> None:
    """Unknown commands, Tab, Ctrl-C while gdb runs the guest, and the end of klosdbg."""
    with on_terminal(*SHELL, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("list", r"unknown command 'list'")
        shell.expect(PROMPT)
        shell.line("gdb", "gdb is attached")
        shell.expect(PROMPT)
        shell.line("list klos_ready", "KLOS_FLAG_READY")
        shell.expect(PROMPT)
        shell.type("ptype struct klos_ma" + TAB)
        shell.expect("klos_mailbox")
        shell.line("", "type = struct klos_mailbox {")
        shell.expect(PROMPT)
        printed = len(said_by_guest(shell.process.pid))
        shell.type("gdb continue" + ENTER)
        shell.expect("Continuing")
        # Before gdb has resumed the guest, Ctrl-C ends its command instead.
        until(lambda: len(said_by_guest(shell.process.pid)) > printed)
        shell.interrupt()
        shell.expect("received signal SIGINT")
        shell.expect("interrupt: ring")
        shell.expect(PROMPT)
        shell.type("gdb while 1" + CTRL_C)
        shell.expect(PROMPT)
        shell.line("bt", "#0 ")
        shell.expect(PROMPT)
        debugger = gdb_of(shell.process.pid)
        assert shell.ends() == 0
    assert not Path(f"/proc/{debugger}").exists()


def test_no_gdb_outlives_klosdbg(tmp_path: Path) -> None:
    with on_terminal(*SHELL, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("gdb p 1", r"\$1 = 1")
        debugger = gdb_of(shell.process.pid)
        shell.process.kill()
        until(lambda: not Path(f"/proc/{debugger}").exists())


def test_qemu_dies_under_gdb(tmp_path: Path) -> None:
    """One line says so, and the shell goes on."""
    with on_terminal(*SHELL, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("gdb p 1", r"\$1 = 1")
        shell.expect(PROMPT)
        debugger = gdb_of(shell.process.pid)
        shell.type("gdb continue" + ENTER)
        shell.expect("Continuing")
        for child in children(shell.process.pid):
            if child != debugger:
                os.kill(child, signal.SIGKILL)
        shell.expect(r"klosdbg: lost \S+: QEMU ended")
        shell.line("gdb p 1", "no target")
        assert shell.ends() == 0
        assert "Traceback" not in shell.raw.decode()
