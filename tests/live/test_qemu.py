"""Starting QEMU: what it is given, what is left of it, and what is said when it does not start."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.errors import DataError, TargetLost
from klosdbg.targets import private_dir
from klosdbg.targets.private_dir import PrivateDirectory, remove_abandoned
from klosdbg.targets.qemu import QemuOptions, QemuProcess, command_line, start_qemu
from tests.live.patience import PATIENCE
from tests.live.tiny import image, needs_qemu, symbols, value

pytestmark = [pytest.mark.qemu, needs_qemu]


def options(**changes: object) -> QemuOptions:
    return QemuOptions(**{"image": image(), "headless": True, **changes})  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def directory_of(pid: int) -> Path:
    """Give the directory of QEMU's sockets, by its own command line."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    stub = words[words.index("-gdb") + 1]
    return Path(stub.removeprefix("unix:path=").partition(",")[0]).parent


def wait_until_dead(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_its_directory_is_private_and_goes_with_it() -> None:
    process = QemuProcess(options())
    target = process.attach()
    directory = directory_of(process.pid)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {"gdb", "qmp", "console.log", "serial.log"} <= set(os.listdir(directory))
    assert os.getpgid(process.pid) == process.pid
    target.close()
    target.close()
    assert not is_alive(process.pid)
    assert not directory.exists()


def test_the_console_is_what_the_guest_writes_to_its_port() -> None:
    target = start_qemu(options())
    assert target.control is not None
    assert target.read_console is not None
    assert target.read_console() == b""
    target.control.insert(symbols()["loop"])
    target.control.resume()
    target.control.wait(PATIENCE)
    assert target.read_console() == b"K"
    target.close()


def test_a_deterministic_guest_does_the_same_each_time() -> None:
    def count() -> int:
        target = start_qemu(options(deterministic=True))
        assert target.control is not None
        target.control.insert(symbols()["tick"])
        for _ in range(5):
            target.control.resume()
            target.control.wait(PATIENCE)
        counted = value(target, "counter")
        target.close()
        return counted

    assert count() == count() > 0


def test_arguments_of_the_user_take_the_place_of_ours() -> None:
    given = ("-serial", "null", "-nic", "user", "-display", "curses")
    command = command_line(options(extra_args=given, append="seed=7"), Path("/d"), is_own=True)
    assert command[-len(given) :] == list(given)
    for name in ("-serial", "-display"):
        assert command.count(name) == 1
    assert "-net" not in command
    assert command[command.index("-append") + 1] == "seed=7"
    assert "isa-debug-exit,iobase=0xf4,iosize=4" in command
    assert "isa-debug-exit,iobase=0xf4,iosize=4" not in command_line(options(), Path("/d"), False)


def test_only_an_image_that_describes_itself_gets_the_exit_port(tmp_path: Path) -> None:
    own = tmp_path / "own.elf"
    own.write_bytes(image().read_bytes() + b"KLOSINFO")
    for path, count in ((own, 1), (image(), 0)):
        process = QemuProcess(options(image=path))
        target = process.attach()
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        target.close()
        assert arguments.count(b"isa-debug-exit") == count


def test_what_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    with pytest.raises(TargetLost, match="apt install qemu-system-x86"):
        start_qemu(options(qemu="qemu-system-none"))
    with pytest.raises(DataError, match=f"cannot read the image {tmp_path}/none: no such file"):
        start_qemu(options(image=tmp_path / "none"))
    with pytest.raises(TargetLost, match=r"QEMU ended \(status 1\): .*-nonsense: invalid option"):
        start_qemu(options(extra_args=("-nonsense",)))
    text = tmp_path / "no-image"
    text.write_text("hello")
    with pytest.raises(TargetLost, match=r"QEMU ended \(status 1\): "):
        start_qemu(options(image=text))
    broken = tmp_path / "qemu"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(TargetLost, match="cannot start"):
        start_qemu(options(qemu=str(broken)))
    assert not list(private.iterdir())


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make a place of our own for directories, and let each be old enough to be abandoned.

    Among others', such a one may be that of a QEMU that is being started.
    """
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        monkeypatch.setattr(private_dir, "_MIN_AGE", 0)
        yield place


OWNER = """
import sys, time
from pathlib import Path
from klosdbg.targets.qemu import QemuOptions, QemuProcess
process = QemuProcess(QemuOptions(image=Path(sys.argv[1]), headless=True))
target = process.attach()
target.control.resume()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_qemu_outlives_its_owner(signal_number: int, alone: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(image())],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": alone},
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert is_alive(pid)
    directory = directory_of(pid)
    owner.send_signal(signal_number)
    owner.wait()
    owner.stdout.close()
    assert wait_until_dead(pid)
    assert directory.parent == Path(alone)
    remove_abandoned()
    assert not directory.exists()


@pytest.mark.usefixtures("alone")
def test_directories_in_use_are_left_alone() -> None:
    ours = PrivateDirectory()
    unlocked = Path(tempfile.mkdtemp(prefix="klosdbg-"))
    remove_abandoned()
    assert ours.path.exists()
    assert unlocked.exists(), "without a lock it is none of ours"
    ours.remove()
    unlocked.rmdir()
