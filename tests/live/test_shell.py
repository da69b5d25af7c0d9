"""The shell as one types into it: a real terminal, a real guest."""

import os
import re
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from klosdbg.targets.qmp import Qmp
from tests.live.driver import KLOS, needs_klos
from tests.live.patience import until
from tests.live.terminal import CTRL_C, ENTER, TAB, UP, Terminal, children, on_terminal
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

TINY = ("run", "--headless", "--image", str(image()))
KLOS_READY = ("run", "--headless", "--image", str(KLOS), "-c", "until klos_ready", "-i")
PROMPT = r"\(klosdbg ring0 [0-9a-f]{4}:[0-9a-f]{8} \S+\)"
STOPPED = "interrupt: ring 0|klosdbg: interrupted"
"""A Ctrl-C that comes before the guest has been resumed ends the command alone."""
RUNNING = r"\(klosdbg running\)"


def complete(terminal: Terminal, typed: str, whole: str) -> None:
    """Type the beginning of a word, and let Tab write the rest."""
    terminal.type(typed + TAB)
    terminal.expect(whole)


def test_a_first_session(tmp_path: Path) -> None:
    """Type a little, stop the guest, repeat with an empty line, leave; the history is kept."""
    with on_terminal(*TINY, state=tmp_path) as shell:
        assert "Ctrl-D leaves" in shell.expect(PROMPT)
        shell.line("until loop", "breakpoint: ring 0, 0008:")
        shell.expect(PROMPT)
        shell.type("c" + ENTER)
        shell.interrupt()
        shell.expect(STOPPED)
        shell.expect(PROMPT)
        shell.line("s", "step: ring 0")
        shell.expect(PROMPT)
        shell.line("", "step: ring 0")
        shell.expect(PROMPT)
        shell.line("nonsense", "klosdbg: unknown command 'nonsense'")
        shell.expect(PROMPT)
        assert shell.ends() == 0
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.type(UP * 4 + ENTER)
        shell.expect("breakpoint: ring 0, 0008:")
        assert shell.ends() == 0
    history = tmp_path / "klosdbg" / "history"
    assert "+until loop\n" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_completion(tmp_path: Path) -> None:
    """Tab completes commands, symbols and options."""
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        complete(shell, "unt", "until")
        complete(shell, " loop_", "loop_end")
        shell.line("", "breakpoint: ring 0, .*<loop_end>")
        shell.expect(PROMPT)
        complete(shell, "sym --js", "--json")
        complete(shell, " loop_", "loop_end")
        shell.line("", '"symbol": "loop_end"|"name": "loop_end"')
        assert shell.ends() == 0


def test_a_guest_in_the_background(tmp_path: Path) -> None:
    """The prompt says that it runs; Ctrl-C stops it; a breakpoint is shown without being asked."""
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("c &", RUNNING)
        shell.line("regs", "protected mode")
        shell.expect(RUNNING)
        shell.type(CTRL_C)
        shell.expect("interrupt: ring 0")
        shell.expect(PROMPT)
        shell.line("b loop_end", "breakpoint 1 at")
        shell.line("c &", "running")
        shell.expect("breakpoint 1: ring 0.*<loop_end>")
        shell.expect(PROMPT)
        shell.type(CTRL_C)
        shell.expect(PROMPT)
        assert shell.ends() == 0


def test_ctrl_c_ends_a_command_and_never_the_shell(tmp_path: Path) -> None:
    """A stream ends without a word; steps end where the guest stands."""
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("until loop", "breakpoint: ring 0")
        shell.expect(PROMPT)
        shell.line("console -f", "K\r\n")
        shell.interrupt()
        assert "interrupted" not in shell.expect(PROMPT)
        shell.type("s 100000000" + ENTER)
        shell.interrupt()
        shell.expect(STOPPED)
        shell.expect(PROMPT)
        shell.line("regs", "protected mode")
        assert shell.ends() == 0


@needs_klos
def test_ctrl_c_after_a_while_at_the_prompt(tmp_path: Path, short_path: Path) -> None:
    """The prompt has looked at the guest meanwhile, under the line editor's own Ctrl-C."""
    own = f"unix:{short_path}/qmp"
    words = ("run", "--headless", "--", "-qmp", f"{own},server=on,wait=off")
    with on_terminal(*words, state=tmp_path) as shell:
        with closing(Qmp(own)) as qmp:
            for _ in range(2):
                shell.expect(r"\(klosdbg ring\d")
                time.sleep(1.5)
                shell.type("c" + ENTER)
                until(lambda: qmp.status() == "running")
                shell.interrupt()
                shell.expect("interrupt: ring")
        shell.expect(r"\(klosdbg ring\d")
        assert shell.ends() == 0


def test_qemu_dies_under_the_shell(tmp_path: Path) -> None:
    """One line says so, and the shell goes on without a target."""
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("c &", RUNNING)
        for child in children(shell.process.pid):
            os.kill(child, signal.SIGKILL)
        shell.expect(r"klosdbg: lost \S+: QEMU ended")
        shell.expect(r"\(klosdbg\)")
        shell.line("regs", "no target: start one with 'klosdbg run'")
        shell.line("help gdt", "usage: gdt")
        assert shell.ends() == 0
        assert "Traceback" not in shell.raw.decode()


@needs_klos
@pytest.mark.xdist_group("klos")
def test_klos_at_the_prompt(tmp_path: Path) -> None:
    """The prompt names the process, roles complete, a narrow terminal gets less."""
    with on_terminal(*KLOS_READY, state=tmp_path) as shell:
        shell.expect(r"\(klosdbg ring3 001b:[0-9a-f]{8} klos_ready \[system\]\)")
        complete(shell, "sel dso", "dsos")
        shell.line("", "dsos: [GL]DT slot")
        assert shell.ends() == 0
    with on_terminal(*KLOS_READY, state=tmp_path, columns=40) as shell:
        shell.expect(r"\(klosdbg ring3\)")
        assert shell.ends() == 0


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_colour_is_for_those_who_want_it(tmp_path: Path, env: dict[str, str]) -> None:
    """NO_COLOR leaves no colour, in the prompt or in an answer."""
    with on_terminal(*TINY, state=tmp_path, **env) as shell:
        shell.expect(PROMPT)
        shell.line("regs", "gdtr")
        assert shell.ends() == 0
        assert bool(re.search(rb"\x1b\[([0-9;]*;)?3[0-7]m", shell.raw)) != bool(env)


def test_output_into_a_file(tmp_path: Path) -> None:
    """Prompts stay on the terminal; the file gets what the commands print, without colour."""
    with (
        (tmp_path / "out").open("w+b") as output,
        on_terminal(*TINY, state=tmp_path, output=output) as shell,
    ):
        shell.expect(PROMPT)
        shell.type("until loop" + ENTER)
        shell.expect("until loop")
        shell.expect(PROMPT)
        assert shell.ends() == 0
        written = (tmp_path / "out").read_text()
    assert "breakpoint: ring 0" in written
    assert "(klosdbg" not in written
    assert "\x1b" not in written


def test_a_history_that_cannot_be_kept(tmp_path: Path) -> None:
    """The shell works without one."""
    (tmp_path / "klosdbg" / "history").mkdir(parents=True)
    with on_terminal(*TINY, state=tmp_path) as shell:
        shell.expect(PROMPT)
        shell.line("sym loop", "0x00")
        assert shell.ends() == 0
