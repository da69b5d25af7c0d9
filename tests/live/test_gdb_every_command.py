"""Every declared command, three ways: the shell, ``klos CMD`` inside gdb, ``monitor klos CMD``."""

import re
from collections.abc import Iterator

import pytest
from klosdbg.commands import collect
from klosdbg.session import Session
from klosdbg.targets.live import connect
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import KLOS, driving, klosdbg, needs_klos
from tests.live.klos import DETERMINISTIC
from tests.live.patience import PATIENCE
from tests.live.serving import gdb, serving
from tests.live.test_gdb_extension import needs_gdb_python
from tests.live.test_server import shown
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos, needs_gdb_python]

BOOT = ("--headless", "--append", "seed=1", "-c", "until klos_ready")
DECLARED = {command.name: command for command in collect().values()}
SHOW = {name: c.example for name, c in DECLARED.items() if c.reads} | {
    name: DECLARED[name].example
    for name in ("sym", "events show", "events stats", "capture note", "capture info", "expect",
                 "rs", "rc", "interrupt", "decode", "help", "echo")
} | {
    "capture mark": "capture mark here", "capture stop": "capture stop", "snaps": "snaps",
    "snap": "snap here", "at": "at 7", "diff": "diff 7 8", "export": "export csv /dev/null/x",
    "info b": "info b", "attack": "attack guess --simulate 1000",
}  # fmt: skip
MOVE = (
    "silicon -n 10", "s 10", "n", "until console_write", "finish", "mailbox ping 7",
    "dsos trigger 1 --how mailbox", "events record -n 3 --vector 48", "events start --stopping",
    "events stop", "events follow -n 1 --vector 48", "attack dsapp-read", "until core_out",
    "b return_gate", "c", "s", "info b", "del 1", "set klos_info 0x4b -w b",
)  # fmt: skip
GDB_HAS_ITS_OWN = {
    "quit": ("quit", "leaves gdb"),
    "detach": ("detach", "leaves the guest"),
    "reset": ("reset", "'monitor system_reset' does"),
    "console": ("console", "has no console log"),
    "doctor": ("doctor", "run 'klosdbg doctor'"),
    "bench": ("bench", "cannot"),
    "gdb": ("gdb info line", "type its command without"),
    "c": ("c &", "'klos c' waits for a stop"),
    "b event": ("b event 11", "Breakpoint 1 at "),
}
"""What gdb has or does itself: a line for it, and what gdb answers."""
ELSEWHERE = {
    "capture start": "writes a file: test_capture.py",
    "dsos watch": "follows until Ctrl-C: test_dsos_watch.py",
    "selftest": "takes half a minute: test_klos.py",
    "bench-services": "takes half a minute: test_klos.py",
}


def marked(lines: tuple[str, ...], prefix: str = "klos") -> list[str]:
    words = [w for n, line in enumerate(lines) for w in (f"echo @{n}\\n", f"{prefix} {line}")]
    return [*words, f"echo @{len(lines)}\\n"]


def answers(said: str, count: int) -> list[str]:
    return [said.partition(f"@{n}\n")[2].partition(f"@{n + 1}\n")[0] for n in range(count)]


@pytest.fixture(scope="module")
def line() -> str:
    return klosdbg("gdb-init").out.strip()


@pytest.fixture
def guest() -> Iterator[str]:
    with serving("run", *BOOT) as path:
        yield path


def by_shell(session: Session, lines: tuple[str, ...]) -> list[str]:
    return [comparable(shown(session, line)) for line in lines]


def by_extension(path: str, lines: tuple[str, ...], load: str) -> list[str]:
    said = gdb(path, *marked(lines), image=KLOS, line=load)
    return list(map(comparable, answers(said, len(lines))))


def by_monitor(path: str, lines: tuple[str, ...]) -> list[str]:
    said = gdb(path, *marked(lines, "monitor klos"), image=KLOS)
    return list(map(comparable, answers(said, len(lines))))


def comparable(said: str) -> str:
    """Leave out what the clock decides, what the target is called, and advice about gdb."""
    said = re.sub(r"klosdbg: gdb has not seen that: .*\n", "", said)
    said = re.sub(r"unix:\S+|gdb's target|klos\.elf", "TARGET", said)
    said = re.sub(r"[\d.]+ (s|ms|ticks|stops)\b", r"- \1", said)
    # How far the guest had got when it was asked: the wait for an answer ends by the host's clock.
    said = re.sub(r"\d+ (selectors? corrected|threads? sent back)", r"- \1", said)
    said = re.sub(r"^ *\d+( 48 commit ).*", r"-\1-", said, flags=re.MULTILINE)
    return re.sub(r"pid \d+ tid \d+ at .*", "at -", said)


def test_each_is_in_one_list() -> None:
    moved = {max((n for n in DECLARED if f"{line} ".startswith(f"{n} ")), key=len) for line in MOVE}
    assert SHOW.keys() | moved | GDB_HAS_ITS_OWN.keys() | ELSEWHERE.keys() == DECLARED.keys()


def test_what_shows_something(guest: str, line: str) -> None:
    lines = tuple(SHOW.values())
    session = Session(timeout=PATIENCE, symbols=SymbolTable((Image(KLOS.read_bytes(), str(KLOS)),)))
    session.attach(connect(f"unix:{guest}"))
    try:
        expected = dict(zip(lines, by_shell(session, lines), strict=True))
    finally:
        session.detach()
    assert dict(zip(lines, by_extension(guest, lines, line), strict=True)) == expected
    assert dict(zip(lines, by_monitor(guest, lines), strict=True)) == expected


def test_what_moves_or_changes_the_guest(line: str) -> None:
    """Three guests are booted, and go the same way: their clocks count instructions."""
    counted = (*BOOT, "--", *DETERMINISTIC)
    with driving(KLOS, *DETERMINISTIC, append="seed=1") as driver:
        driver.line("until klos_ready")
        expected = dict(zip(MOVE, by_shell(driver.session, MOVE), strict=True))
    with serving("run", *counted) as path:
        assert dict(zip(MOVE, by_extension(path, MOVE, line), strict=True)) == expected
    with serving("run", *counted) as path:
        assert dict(zip(MOVE, by_monitor(path, MOVE), strict=True)) == expected


def test_what_gdb_does_itself(guest: str, line: str) -> None:
    lines = tuple(asked for asked, _ in GDB_HAS_ITS_OWN.values())
    said = gdb(guest, *marked(lines), image=KLOS, line=line)
    for (asked, expected), answer in zip(
        GDB_HAS_ITS_OWN.values(), answers(said, len(lines)), strict=True
    ):
        assert expected in answer, asked
        assert answer.count("\n") == 1, asked
