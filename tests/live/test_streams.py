"""The process around the session: its streams, its signals, and what it leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.driver import KLOS, klosdbg, launched
from tests.live.patience import PATIENCE
from tests.live.terminal import children
from tests.live.test_qemu import wait_until_dead
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

KLOSDBG = [sys.executable, "-m", "klosdbg"]


def run() -> list[str]:
    """The words that start the tiny guest."""
    return ["run", "--headless", "--image", str(image())]


def test_a_reader_that_leaves_early_ends_the_run_quietly() -> None:
    """As ``| head -1`` does: no traceback, and no message."""
    with launched(*run(), "-c", "until loop", *["-c", "idt --all"] * 40) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("breakpoint: ")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full() -> None:
    """One line, exit code 1."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*KLOSDBG, *run(), "-c", "regs"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "klosdbg: cannot write the output: no space left on device\n"


def test_closed_streams() -> None:
    """A process without standard streams works all the same."""
    command = " ".join([*KLOSDBG, *run(), "-c", "regs"])
    assert subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"]).returncode == 0


@pytest.mark.parametrize("running", [False, True])
def test_killing_klosdbg_ends_its_qemu(running: bool) -> None:
    """SIGKILL leaves nobody to clean up."""
    resume = ["-c", "c &"] if running else []
    words = ["-c", "until loop", *resume, "-c", "console -f"]
    with launched(*run(), *words) as process:
        assert process.stdout is not None
        for _ in range(4 if running else 3):
            process.stdout.readline()
        (qemu,) = children(process.pid)
        process.kill()
    assert wait_until_dead(qemu)


def test_commands_come_from_options_a_file_or_standard_input(tmp_path: Path) -> None:
    """All three give the same; ``-c`` goes before ``-x``."""
    script = tmp_path / "script"
    script.write_text("# to the loop\nuntil loop\n\n  sel cs  # its code segment\n")
    by_option = klosdbg(*run(), "-c", "until loop", "-c", "sel cs")
    by_file = klosdbg(*run(), "-x", str(script))
    by_stdin = klosdbg(*run(), stdin=script.read_text())
    assert by_option == by_file == by_stdin
    assert (by_option.code, by_option.err) == (0, "")
    both = klosdbg(*run(), "-x", str(script), "-c", "b loop")
    assert both.out.startswith("breakpoint 1 at")


def test_json_is_one_document_a_line_from_every_source() -> None:
    """Also where a later command fails: what was printed stays."""
    result = klosdbg(*run(), "--json", stdin="until loop\ngdt\nsel 0x18\nmem nowhere\nregs\n")
    documents = [json.loads(line) for line in result.out.splitlines()]
    assert [d["schema"] for d in documents] == [f"klosdbg/{n}/1" for n in ("stop", "gdt", "sel")]
    assert (result.code, result.err.count("\n")) == (1, 1)


def test_version() -> None:
    """The version goes to standard output."""
    assert klosdbg("--version").out.startswith("klosdbg 0.")


def owned_by(name: str) -> list[int]:
    """Find the processes that were started with a name of ours."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and words[0].endswith(b"qemu-system-i386"):
            found.append(int(place.parent.name))
    return found


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        (["quit"], 0),
        (["detach"], 0),
        (["nonsense"], 2),
        (["sel nonsense"], 1),
        (["until 0x5"], 1),
        (["until loop", "set mode 2", "c"], 1),
        (["until loop", "c &"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_qemu_is_left_behind(commands: list[str], code: int) -> None:
    """However a run ends, its QEMU ends with it."""
    name = f"left-behind-{os.getpid()}"
    words = [word for command in commands for word in ("-c", command)]
    patience = "0.5" if commands == ["until 0x5"] else str(PATIENCE)
    result = klosdbg(*run(), "--timeout", patience, *words, "--", "-name", name)
    assert result.code == code, result
    assert result.err.count("\n") == (code > 0 or commands == ["detach"])
    assert owned_by(name) == []


def test_a_guest_that_leaves_by_its_exit_port_says_so() -> None:
    """A failure and one line: where QEMU ends it names the value, where it stops the place."""
    if not KLOS.exists():
        pytest.skip("KLOS is not built: run 'make guest'")
    result = klosdbg("run", "--headless", "--append", "run=exit", "-c", "c")
    assert result.code == 1
    assert result.err.startswith(
        (
            "klosdbg: lost klos.elf: the guest left through its exit port with 0",
            "klosdbg: the guest shut down at 001b:c0",
        )
    )
    assert result.err.count("\n") == 1


def test_an_elf_that_qemu_cannot_boot() -> None:
    """The line says what an image has to be."""
    result = klosdbg("run", "--headless", "--image", sys.executable, "-c", "regs")
    assert result.code == 3
    assert "is the image a 32-bit multiboot kernel?" in result.err
    assert result.err.count("\n") == 1
