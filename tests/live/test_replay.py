"""A deterministic capture boots again to the same instruction, and goes back."""

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from tests.live.driver import Result, klosdbg, launched, needs_klos
from tests.live.klos import IMAGE
from tests.live.terminal import children
from tests.live.test_qemu import wait_until_dead
from tests.live.tiny import needs_qemu

needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed: apt install qemu-utils"
)
pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    needs_klos,
    needs_qemu_img,
    pytest.mark.xdist_group("replay"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A deterministic capture, and the registers that it ended with."""
    path = tmp_path_factory.mktemp("replay") / "bug.klos"
    image = tmp_path_factory.mktemp("where-no-replay-will-find-it") / "klos.elf"
    shutil.copy(IMAGE, image)
    lines = ("until klos_ready", "events record -n 20", "echo ====", "regs")
    words = [word for line in lines for word in ("-c", line)]
    shown = klosdbg(
        "capture",
        "-o",
        str(path),
        "--image",
        str(image),
        "--deterministic",
        "--headless",
        *words,
        "--",
        "-m",
        "32",
    )
    assert shown.code == 0, shown.err
    return path, shown.out.split("====\n")[1]


def replay(path: Path, *lines: str) -> Result:
    """Boot a capture again."""
    return klosdbg("replay", str(path), "--headless", *[w for line in lines for w in ("-c", line)])


def test_it_reaches_the_same_instruction(recorded: tuple[Path, str]) -> None:
    """It stops where the recording ended, with every register as it was, and goes no further."""
    path, registers = recorded
    again = replay(path, "c", "echo ====", "regs", "c")
    assert again.out.split("====\n")[1] == registers
    assert again.code == 1
    assert again.err.endswith("this is where the recording ends: 'rs' and 'rc' go back\n")


def test_it_goes_back(recorded: tuple[Path, str]) -> None:
    """One instruction, to a breakpoint, and to the beginning."""
    shown = replay(
        recorded[0], "until klos_ready", "s", "rs", "s 2", "b klos_ready", "rc", "del 1", "rc"
    )
    assert shown.code == 0, shown.err
    stops = [line for line in shown.out.splitlines() if ": ring " in line]
    assert stops[0] == stops[4].replace("breakpoint 1", "breakpoint")
    assert "<klos_ready>" in stops[2]
    assert "f000:0000fff0" in stops[-1]


@pytest.mark.parametrize("line", ["rs", "rc", "rc --to-write 0x1000"])
def test_there_is_nothing_before_the_beginning(recorded: tuple[Path, str], line: str) -> None:
    """It says so, where QEMU would not answer."""
    shown = replay(recorded[0], "rc", line)
    assert shown.code == 1
    assert shown.err == "klosdbg: this is where the recording begins: 'c' and 's' go on\n"


def test_it_goes_back_to_a_write(recorded: tuple[Path, str]) -> None:
    """``rc --to-write`` stops at the instruction that wrote the slot of DSOS, then before it."""
    found = replay(recorded[0], "until klos_ready", "sel dsos --json").out.splitlines()
    selector = json.loads(next(line for line in found if line.startswith("{")))
    slot = f"{selector['table']}[{selector['index']}]"
    at = selector["address"]
    lines = (f"rc --to-write {slot}", f"mem {at} 8", "s", f"mem {at} 8", f"rc --to-write {at}")
    shown = replay(recorded[0], "until klos_ready", *lines)
    assert shown.code == 0, shown.err
    assert shown.out.count("watchpoint: ring 0") == 2
    assert "dsos_place" in shown.out
    before, after = re.findall(r"^0x\w+ .*$", shown.out, re.M)
    assert before != after


def test_both_ends_of_the_recording_are_named(recorded: tuple[Path, str]) -> None:
    shown = replay(
        recorded[0], "c", "rc --to-write 0x1000", "until klos_ready", "rc", "events show"
    )
    assert shown.code == 0, shown.err
    assert re.findall(r"^(\w+ of recording|\w+): ring", shown.out, re.M) == [
        "end of recording",
        "beginning of recording",
        "breakpoint",
        "beginning of recording",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("reset", "a replay is not reset"),
        ("set eax 1", ""),
        ("rc --to-write gdt[9999]", "entries are 0 to"),
        ("rc --to-write nonsense", "no symbol"),
        ("rs 0", "between 1 and 1000"),
    ],
)
def test_what_a_replay_cannot_do(recorded: tuple[Path, str], line: str, says: str) -> None:
    """It would no longer be what was recorded: one line."""
    shown = replay(recorded[0], line)
    assert shown.code in (1, 2)
    assert says in shown.err
    assert shown.err.count("\n") == 1


def test_other_guests_cannot_go_back(tmp_path: Path) -> None:
    """A guest that runs for the first time has no past."""
    shown = klosdbg("run", "--headless", "-c", "rs")
    assert shown.code == 1
    assert "cannot go back: 'klosdbg capture --deterministic' records" in shown.err


def test_a_capture_that_holds_no_replay(tmp_path: Path) -> None:
    """One line says how to make one that does."""
    path = tmp_path / "bug.klos"
    assert klosdbg("capture", "-o", str(path), "--headless", "-c", "regs").code == 0
    shown = replay(path, "regs")
    assert shown.code == 2
    assert "it was not captured with --deterministic" in shown.err


@pytest.mark.parametrize(
    "given", [["--redact"], ["--image", "none"], ["--accel", "kvm"], ["--", "-monitor", "stdio"]]
)
def test_what_cannot_be_recorded(tmp_path: Path, given: list[str]) -> None:
    """What a replay could not be given again is refused, and leaves nothing behind."""
    path = tmp_path / "bug.klos"
    shown = klosdbg("capture", "-o", str(path), "--deterministic", "--headless", *given)
    assert shown.code == 2
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


REFUSED = {
    "arguments": (r"arguments:\n  - -m\n  - '32'", "arguments:\n  - -monitor\n  - 'stdio'"),
    "qemu": ("qemu: qemu-system-i386", "qemu: /bin/sh"),
}
CHANGES = {**REFUSED, "version": (r"(?m)^qemu: [\d.]+$", "qemu: 4.2.1")}


@pytest.fixture
def changed(recorded: tuple[Path, str], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A capture that somebody edited, hashes put right."""
    path = tmp_path / "bug.klos"
    with zipfile.ZipFile(recorded[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            raw = old.read(name)
            if name == "manifest.yaml":
                text, times = re.subn(*CHANGES[request.param], raw.decode())
                assert times == 1
                raw = text.encode()
            new.writestr(name, raw)
    return path


@pytest.mark.parametrize("changed", REFUSED, indirect=True)
def test_a_stranger_chooses_no_program(changed: Path) -> None:
    """Arguments and programs that a capture names are taken from a short list alone."""
    shown = replay(changed, "regs")
    assert shown.code == 2
    assert "the capture is refused" in shown.err or "a replay takes" in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("changed", ["version"], indirect=True)
def test_another_version_of_qemu_is_told(changed: Path, recorded: tuple[Path, str]) -> None:
    """One line, and the replay goes on; the version that recorded needs none."""
    shown = replay(changed, "echo here")
    assert (shown.code, shown.out) == (0, "here\n")
    assert re.fullmatch(
        r"klosdbg: recorded by QEMU 4\.2\.1, replayed by [\d.]+: another version may diverge "
        r"from the recording\n",
        shown.err,
    )
    assert replay(recorded[0], "echo here").err == ""


def test_a_disk_with_a_backing_file_is_refused(recorded: tuple[Path, str], tmp_path: Path) -> None:
    """QEMU would open whatever file the disk names."""
    secret, disk = tmp_path / "secret", tmp_path / "init.qcow2"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(disk)],
        check=True,
    )
    from klosdbg.errors import DataError
    from klosdbg.targets.replay import _check_disk

    with pytest.raises(DataError, match="no plain qcow2"):
        _check_disk(disk.read_bytes()[:4096])


def test_a_recording_that_was_killed_is_not_replayed(tmp_path: Path) -> None:
    """QEMU has not finished its log; what was captured opens."""
    path, part = tmp_path / "bug.klos", tmp_path / "bug.klos.part"
    lines = ("until klos_ready", "echo ready", "events record -n 1000000 --ring")
    words = [word for line in lines for word in ("-c", line)]
    with launched("capture", "-o", str(path), "--deterministic", "--headless", *words) as process:
        assert process.stdout is not None
        assert "ready\n" in process.stdout
    shown = replay(part, "regs")
    assert (shown.code, shown.out) == (2, "")
    assert "its recording was not finished ('open' shows it)" in shown.err
    assert klosdbg("open", str(part), "-c", "regs").code == 0


@pytest.mark.parametrize("line", ["mailbox ping 1", "set eax 1", "dsos trigger 1"])
def test_nothing_is_written_while_it_is_recorded(tmp_path: Path, line: str) -> None:
    path = str(tmp_path / "bug.klos")
    words = ("-o", path, "--deterministic", "--headless", "-c", "until klos_ready", "-c", line)
    shown = klosdbg("capture", *words)
    assert shown.code == 1
    assert "a replay would not repeat it, so leave out --deterministic" in shown.err


@pytest.mark.parametrize("verb", ["replay", "open"])
def test_there_is_no_qemu_to_give_arguments_to(recorded: tuple[Path, str], verb: str) -> None:
    shown = klosdbg(verb, str(recorded[0]), "-c", "regs", "--", "-smp", "2")
    assert (shown.code, shown.out) == (2, "")
    assert "leave out '--'" in shown.err


def test_klosdbg_is_killed_in_a_replay(recorded: tuple[Path, str]) -> None:
    """QEMU dies with it."""
    with launched("replay", str(recorded[0]), "--headless") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("s\n")
        process.stdin.flush()
        assert "ring" in process.stdout.readline()
        (qemu,) = children(process.pid)
    assert wait_until_dead(qemu)
