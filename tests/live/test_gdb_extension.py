"""``klos CMD`` inside gdb, on QEMU's own stub and on klosdbg's server."""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from klosdbg.session import Session
from klosdbg.targets.capture import open_capture
from klosdbg.targets.host import program_version
from klosdbg.targets.live import connect
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, klosdbg, needs_klos, stub
from tests.live.patience import PATIENCE
from tests.live.serving import gdb, serving
from tests.live.test_server import SAME_AS_THE_SHELL, shown
from tests.live.tiny import needs_qemu


def _has_python() -> bool:
    if shutil.which("gdb") is None:
        return False
    words = ["gdb", "-nx", "-batch", "-ex", "python print(6 * 7)"]
    return "42" in subprocess.run(words, capture_output=True, text=True).stdout


needs_gdb_python = pytest.mark.skipif(
    not _has_python(), reason="no gdb with Python: apt install gdb"
)
pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, needs_gdb_python]


@pytest.fixture(scope="module")
def line() -> str:
    """Give what ``klosdbg gdb-init`` prints."""
    ran = klosdbg("gdb-init")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    return ran.out.strip()


@pytest.fixture(scope="module")
def klos() -> Iterator[str]:
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        yield path


def marked(lines: tuple[str, ...]) -> list[str]:
    return [word for n, line in enumerate(lines) for word in (f"echo @{n}\\n", f"klos {line}")]


def test_on_qemus_stub_it_prints_what_the_shell_prints(line: str) -> None:
    commands = SAME_AS_THE_SHELL
    with stub("-kernel", str(KLOS), running=False) as sockets:
        start = (
            "break *klos_ready",
            "c",
            "delete",
            *marked(commands),
            "echo @end\\n",
            "disconnect",
        )
        said = gdb(sockets["gdb"][5:], *start, image=KLOS, line=line)
        session = Session(timeout=PATIENCE)
        session.symbols = SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),))
        session.attach(connect(sockets["gdb"]))
        try:
            for n, command in enumerate(commands):
                following = f"@{n + 1}\n" if n + 1 < len(commands) else "@end\n"
                printed = said.partition(f"@{n}\n")[2].partition(following)[0]
                assert printed == shown(session, command), command
        finally:
            session.detach()


def test_on_the_server_it_runs_stops_and_writes(klos: str, line: str) -> None:
    said = gdb(klos, "klos s", "klos until return_gate", "klos b return_gate", "klos c",
               "klos info b", "klos set eax 0x1234", "p/x $eax", "klos ps",
               image=KLOS, line=line)  # fmt: skip
    assert "step: ring 3, 001b:" in said
    assert "breakpoint: ring 0, 0008:" in said
    assert "breakpoint 1: ring 0, 0008:" in said
    assert "$1 = 0x1234" in said
    assert re.search(r"2 +ping +r", said)


def test_errors_are_one_line_and_end_the_command(klos: str, line: str) -> None:
    said = gdb(klos, "klos gtd", "klos sel", "klos quit", "klos gdt 'x", image=KLOS, line=line)
    assert "klosdbg: unknown command 'gtd': did you mean gdt" in said
    assert "is not for gdb" in said
    assert "close the quote" in said
    assert "Traceback" not in said
    assert "Python Exception" not in said


def test_without_a_guest_it_says_what_to_do(line: str) -> None:
    words = ["gdb", "-nx", "-q", "-batch", "-ex", line, "-ex", "klos gdt", "-ex", "klos help"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert "'target remote' first" in ran.stderr
    assert "Look (reading never changes the guest)" in ran.stdout


def test_captures_name_what_recorded_them(klos: str, line: str, tmp_path: Path) -> None:
    """One that this gdb writes, and one that the server writes for it."""
    own, served = tmp_path / "own.klos", tmp_path / "served.klos"
    tells = "python import platform; print('here:', gdb.VERSION, platform.python_version())"
    said = gdb(klos, tells, f"klos capture start {own}", "klos capture stop",
               f"monitor klos capture start {served}", "monitor klos capture stop",
               image=KLOS, line=line)  # fmt: skip
    (gdb_version, gdb_python) = re.findall(r"here: (\S+) (\S+)", said)[0]
    manifest = open_capture(own).manifest
    assert (manifest.gdb, manifest.python) == (gdb_version, gdb_python)
    assert manifest.klosdbg == version("klosdbg")
    manifest = open_capture(served).manifest
    assert (manifest.gdb, manifest.python) == (
        program_version("gdb", "gdb"),
        platform.python_version(),
    )
    assert (manifest.klosdbg, manifest.command_line[:2]) == (version("klosdbg"), ("klosdbg", "run"))
    assert manifest.image == KLOS.name


def test_functions_help_and_completion(klos: str, line: str) -> None:
    said = gdb(klos, "p/x $klos_lin(\"ds:0x10\")", "p/x $klos_sel(0x28) == $tr_base",
               "p $klos_lin(\"klos_ready\") == (unsigned) &klos_ready", "p $klos_sel(0)",
               "help klos gdt", "help klos capture", "complete klos gd",
               "complete klos dis klos_rea", "complete klos gdt --al", image=KLOS,
               line=line)  # fmt: skip
    assert "$1 = 0x10" in said
    assert "$2 = 0x1" in said
    assert "$3 = 1" in said
    assert "names no segment" in said
    assert "example: gdt 3" in said
    for completed in ("klos gdt", "klos dis klos_ready", "klos gdt --all"):
        assert f"\n{completed}\n" in said, completed
