"""Capturing a run of KLOS, and opening it where there is no QEMU."""

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

import pytest
from klosdbg.targets.capture import open_capture
from klosdbg.targets.host import program_version
from tests.live.driver import Result, klosdbg, launched, needs_klos
from tests.live.patience import PATIENCE, until
from tests.live.terminal import children
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, pytest.mark.xdist_group("capture")]

READING = ("regs", "sregs", "cr", "gdt", "ldt", "idt", "tss", "iomap", "klos", "ps", "threads")
MORE = (
    "services", "handlers", "frames", "sel dsos", "walk ss:esp", "dis", "mem ss:esp", "console",
    "ivt",
)  # fmt: skip
SEED = ("--append", "seed=7")
_SOME = 20
SCRIPT = ("until klos_ready", "capture mark ready", "mailbox relocate 3", "s 3")


def commands(*lines: str) -> list[str]:
    """Give command lines to klosdbg."""
    return [word for line in lines for word in ("-c", line)]


def capture(path: Path, *lines: str) -> Result:
    """Capture a run of KLOS."""
    return klosdbg("capture", "-o", str(path), "--headless", *SEED, *commands(*lines))


def opened(path: Path, *lines: str) -> Result:
    """Open a capture on a machine that has no program at all."""
    done = subprocess.run(
        [sys.executable, "-m", "klosdbg", "open", str(path), *commands(*lines)],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/dev/null"},
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def bug(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A capture, and what the reading commands showed while the guest was there."""
    path = tmp_path_factory.mktemp("capture") / "bug.klos"
    live = capture(path, *SCRIPT, "echo ====", *READING, *MORE)
    assert live.code == 0, live.err
    return path, live.out.split("====\n")[1]


def test_it_opens_elsewhere(bug: tuple[Path, str]) -> None:
    """Every reading command shows of the capture what it showed of the guest."""
    path, live = bug
    elsewhere = opened(path, *READING, *MORE)
    assert (elsewhere.code, elsewhere.err) == (0, "")
    assert elsewhere.out == live


def test_it_is_a_zip_of_what_was_recorded(bug: tuple[Path, str]) -> None:
    """The manifest leads; snapshots at the start, at the mark and at the end; three relocations."""
    with zipfile.ZipFile(bug[0]) as archive:
        assert archive.namelist()[0] == "manifest.yaml"
        assert archive.testzip() is None
        assert len(archive.read("relocations.jsonl").splitlines()) == 3
    info = json.loads(opened(bug[0], "capture info --json").out)
    assert (info["snapshots"], info["relocations"], info["damage"]) == (3, 3, "")
    assert info["qemu"]
    assert (info["klosdbg"], info["python"]) == (version("klosdbg"), platform.python_version())
    assert info.get("gdb", "") == (program_version("gdb", "gdb") or "")
    assert [n["text"] for n in info["notes"] if n["kind"] == "command"][:4] == list(SCRIPT)
    assert not bug[0].with_name("bug.klos.part").exists()


def test_a_guest_that_was_reset_counts_relocations_anew(tmp_path: Path) -> None:
    path, again = tmp_path / "bug.klos", ("reset", "until klos_ready", "mailbox relocate 2")
    assert capture(path, *SCRIPT, *again).code == 0
    with zipfile.ZipFile(path) as archive:
        rows = archive.read("relocations.jsonl").splitlines()
    assert [json.loads(row)["seq"] for row in rows] == [1, 2, 3, 1, 2]


def test_snapshots_are_looked_at_one_by_one(bug: tuple[Path, str]) -> None:
    """``at`` changes what is read; ``diff`` names the entry and the field."""
    shown = opened(bug[0], "at 2", "sel dsos --json", "at 3", "sel dsos --json", "diff 2 3 --json")
    documents = [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")]
    before, after, difference = documents
    assert before["selector"] != after["selector"]
    changed = {(c["where"], c["field"]): c["after"] for c in difference["changes"]}
    entry = f"{after['table']}[{after['index']:#x}]"
    assert changed[entry, "present"] is True
    assert changed["klos", "relocations"] == 3
    assert changed["klos", "dsos"] == after["selector"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("c", "cannot run: it is a recording"),
        ("s", "cannot run: it is a recording"),
        ("mailbox ping 1", ""),
        ("set eax 1", ""),
        ("at 9", "there is no snapshot 9; there are 1, 2, 3"),
        ("at x", "'x' is not a number"),
        ("snap", "is a recording: 'snaps' lists its snapshots"),
        ("capture start x.klos", "is a recording already"),
        ("mem 0x12345678", "not mapped"),
        ("mem phys:0x1000", "the snapshot does not hold it"),
    ],
)
def test_what_a_recording_cannot_do(bug: tuple[Path, str], line: str, says: str) -> None:
    """It cannot run or be written: one line, and an exit code."""
    result = opened(bug[0], line)
    assert result.code in (1, 2)
    assert says in result.err
    assert result.err.count("\n") == 1


def test_redacted(tmp_path: Path) -> None:
    """Structures stay, memory beside them goes."""
    path = tmp_path / "bug.klos"
    live = klosdbg(
        "capture", "-o", str(path), "--redact", "--headless", *commands(*SCRIPT, "gdt", "ps")
    )
    assert live.code == 0, live.err
    shown = opened(path, "gdt", "ps")
    assert shown.code == 0, shown.err
    assert live.out.endswith(shown.out)
    # Four bytes: a stack may end soon after, and nothing is mapped there.
    for line in ("mem ss:esp 4", "dis", "mem phys:0x1000"):
        assert opened(path, line).err.endswith("the snapshot does not hold it (--redact)\n")
    dsos, audit = opened(path, "dsos"), opened(path, "dsos audit")
    assert (dsos.code, audit.code) == (0, 0)
    assert "sites are not compared: the snapshot does not hold it (--redact)" in dsos.out
    assert "error:" not in audit.out
    assert "note:    prologues:" in audit.out


def test_the_exit_code_is_that_of_the_expectations(tmp_path: Path) -> None:
    """Only where every ``expect`` held is it 0; the capture is written either way."""
    held = capture(
        tmp_path / "a.klos", "until klos_ready", "expect 'cpl == 3 and symbol == \"klos_ready\"'"
    )
    assert held.code == 0, held.err
    failed = capture(tmp_path / "b.klos", "until klos_ready", "expect 'relocations > 5'")
    assert failed.code == 1
    assert "expected relocations > 5: relocations is 0" in failed.err
    info = opened(tmp_path / "b.klos", "capture info")
    assert "expect: relocations > 5" in info.out
    assert "ended        expected relocations > 5" in info.out


def started(path: Path, *lines: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a capture that goes on, and takes more commands from standard input."""
    words = ("-o", str(path), "--headless", "--timeout", "0")
    return launched("capture", *words, *commands(*lines))


@pytest.fixture
def going(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A capture that is in the middle of recording events, its mark already taken."""
    lines = ("until klos_ready", "capture mark ready", "events record -n 100000")
    with started(tmp_path / "bug.klos", *lines) as process:
        until(lambda: recorded(tmp_path / "bug.klos") >= _SOME)
        yield process


def recorded(path: Path, what: str = "events") -> int:
    """Count the events of a recording under way, or its snapshots."""
    file = path.with_name(path.name + ".part") / f"{what}.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_klosdbg_is_killed(tmp_path: Path, going: subprocess.Popen[str]) -> None:
    """What was recorded opens: tables, relocations and all."""
    going.kill()
    going.wait()
    shown = opened(tmp_path / "bug.klos", "snaps", "gdt 3", "klos", "capture info --json")
    assert shown.code == 0, shown.err
    assert shown.err.startswith("klosdbg: bug.klos is damaged: the recording was not finished")
    assert shown.err.count("\n") == 1
    assert "ready" in shown.out
    assert json.loads(shown.out.splitlines()[-1])["events"] >= _SOME


def test_qemu_is_killed(tmp_path: Path, going: subprocess.Popen[str]) -> None:
    """The capture is written without a last snapshot, and says what ended it."""
    (qemu,) = children(going.pid)
    os.kill(qemu, signal.SIGKILL)
    assert going.wait(PATIENCE) == 3
    shown = opened(tmp_path / "bug.klos", "snaps", "gdt 3", "capture info --json")
    assert (shown.code, shown.err) == (0, "")
    info = json.loads(shown.out.splitlines()[-1])
    assert info["snapshots"] == 2
    assert info["events"] >= _SOME
    assert "QEMU ended (signal 9)" in info["ended"]


def test_ctrl_c(tmp_path: Path, going: subprocess.Popen[str]) -> None:
    """The capture is written, its last snapshot too, and says what ended it."""
    going.send_signal(signal.SIGINT)
    assert going.wait(PATIENCE) == 130
    info = json.loads(opened(tmp_path / "bug.klos", "capture info --json").out)
    assert (info["ended"], info["snapshots"]) == ("interrupted by Ctrl-C", 3)
    assert "interrupted by Ctrl-C" in [note["text"] for note in info["notes"]]


def test_a_script_that_cannot_be_read_starts_nothing(tmp_path: Path) -> None:
    """Neither a guest nor a capture."""
    script = str(tmp_path / "none.txt")
    words = ("capture", "-o", str(tmp_path / "bug.klos"), "--headless", "-x", script)
    result = klosdbg(*words)
    assert (result.code, result.out) == (2, "")
    assert f"cannot read the script {script}" in result.err
    assert not any(tmp_path.iterdir())


def test_the_disk_is_full(tmp_path: Path) -> None:
    """The recording ends, says so, and keeps what it has."""
    with started(tmp_path / "bug.klos") as process:
        until(lambda: recorded(tmp_path / "bug.klos", "snapshots"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))
        _, errors = process.communicate("until klos_ready\ncapture mark ready\n", PATIENCE)
    assert process.returncode == 1
    assert errors.count("the recording ended: the disk is full; what it has is in") == 1
    assert errors.endswith("bug.klos was not written: the disk is full\n")
    bundle = open_capture(tmp_path / "bug.klos")
    assert "not finished: the disk is full" in bundle.damage_line()
    assert [head["why"] for head in bundle.heads] == ["start"]
    assert opened(tmp_path / "bug.klos", "regs").code == 0


def test_it_overwrites_nothing(bug: tuple[Path, str]) -> None:
    """A capture that is there stays."""
    before = bug[0].read_bytes()
    result = capture(bug[0], "regs")
    assert result.code == 1
    assert "exists: choose another name, or remove it first" in result.err
    assert bug[0].read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x7fELF", b"hello", bytes(5000)])
def test_what_is_no_capture(tmp_path: Path, content: bytes) -> None:
    """One line, exit code 2."""
    path = tmp_path / "bug.klos"
    path.write_bytes(content)
    result = opened(path, "gdt")
    assert result.code == 2
    assert result.err.startswith(f"klosdbg: cannot open {path}: ")
    assert result.err.count("\n") == 1
