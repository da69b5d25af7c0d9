"""The mailbox: what is written, in which order, and every way in which an answer stays out."""

import struct

import pytest
from klosdbg.errors import CommandError
from klosdbg.klos.constants import Mailbox
from klosdbg.klos.mailbox import ask, run_until_ready
from klosdbg.ports import StopEvent, Target
from klosdbg.views import Style, data, text
from tests.unit.klos.frozen import OS_BASE, place, ram, symbols, target

BOX = place("mailbox") - OS_BASE
FLAGS = 0x100000 + 20


class Guest:
    """A guest that answers after some slices of time, or does something else instead."""

    def __init__(self, slices: int = 2, status: int = Mailbox.DONE, panics: bool = False) -> None:
        self.memory = ram()
        self.panics = panics
        self.slices, self.status = slices, status
        self.seen: bytes = b""
        self.event: StopEvent | None = None

    def target(self) -> Target:
        return target(self.memory, self.work)

    def work(self) -> StopEvent | None:
        self.slices -= 1
        self.memory[FLAGS] |= 4 * self.panics
        status = struct.unpack_from("<I", self.memory, BOX)[0]
        if status == Mailbox.REQUEST and self.slices <= 0:
            self.seen = bytes(self.memory[BOX + 16 : BOX + 80])
            answer = struct.pack("<III", self.status, 7, 42)
            self.memory[BOX : BOX + 12] = answer
            self.memory[BOX + 80 : BOX + 90] = b"in words\0\0"
        return self.event


def test_a_request_is_answered() -> None:
    """Command and argument are written before the status, which ends as EMPTY."""
    guest = Guest()
    answer = ask(guest.target(), symbols(), "touch", 3, 10.0)
    assert guest.seen.rstrip(b"\0") == b"touch"
    assert (answer.status, answer.result, answer.text) == ("done", 42, "in words")
    assert [change.field for change in answer.changes] == [
        "mailbox.command",
        "mailbox.argument",
        "mailbox.status",
    ]
    assert struct.unpack_from("<I", guest.memory, BOX) == (Mailbox.EMPTY,)
    assert "mailbox.argument" in text(answer, Style())
    assert data(answer, Style())["result"] == 42
    assert answer.failure is None


def test_a_refusal_is_a_failure() -> None:
    """The guest's own words say why."""
    answer = ask(Guest(status=Mailbox.ERROR).target(), symbols(), "dance", 0, 10.0)
    assert answer.failure == "the guest refused 'dance': in words"


def test_no_answer_takes_the_request_back() -> None:
    """A guest that never looks finds nothing later."""
    guest = Guest(slices=1000)
    with pytest.raises(CommandError, match=r"within 0 s: it never looked"):
        ask(guest.target(), symbols(), "ping", 1, 0.0)
    assert struct.unpack_from("<I", guest.memory, BOX) == (Mailbox.EMPTY,)


def test_a_long_request_tells_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klosdbg.klos.mailbox._SILENT", -1.0)
    said: list[str] = []
    answer = ask(Guest(slices=3).target(), symbols(), "ping", 1, 10.0, said.append)
    assert answer.status == "done"
    assert said[0] == "ping: 0 s"


def test_a_guest_at_work_is_left_to_it() -> None:
    """A request that is being served stays."""
    guest = Guest(slices=1, status=Mailbox.RUNNING)
    with pytest.raises(CommandError, match="it works on it"):
        ask(guest.target(), symbols(), "run talk", 0, 0.01)
    with pytest.raises(CommandError, match="still works on 'run talk'"):
        ask(guest.target(), symbols(), "ping", 0, 0.01)


def test_a_stop_comes_first() -> None:
    """A breakpoint before the answer ends the wait."""
    guest = Guest(slices=1000)
    guest.event = StopEvent("breakpoint", 5)
    with pytest.raises(CommandError, match=r"stopped \(breakpoint\) before it answered 'ping'"):
        ask(guest.target(), symbols(), "ping", 0, 10.0)


def test_a_panic_comes_first() -> None:
    """A guest that panics said why: whether it has not answered, has, or did before."""
    for slices in (1000, 1):
        guest = Guest(slices=slices, panics=True)
        with pytest.raises(CommandError, match="KLOS panicked during 'ping': for a test"):
            ask(guest.target(), symbols(), "ping", 0, 10.0)
    with pytest.raises(CommandError, match="KLOS panicked before: for a test"):
        ask(guest.target(), symbols(), "ping", 0, 10.0)


@pytest.mark.parametrize(
    ("command", "argument", "problem"),
    [("x" * 64, 0, "at most 63 bytes"), ("ping", 1 << 32, "an argument has 32 bits")],
)
def test_what_does_not_fit_is_refused(command: str, argument: int, problem: str) -> None:
    """Nothing is asked for by halves."""
    guest = Guest()
    with pytest.raises(CommandError, match=problem):
        ask(guest.target(), symbols(), command, argument, 10.0)
    assert struct.unpack_from("<I", guest.memory, BOX) == (Mailbox.EMPTY,)


def test_without_a_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that names none after its first ticks has none."""
    monkeypatch.setattr("klosdbg.klos.mailbox._FIRST_TICK", 0.0)
    guest = Guest()
    at = guest.memory.find(struct.pack("<II", place("mailbox"), place("panic")))
    guest.memory[at : at + 4] = bytes(4)
    with pytest.raises(CommandError, match="has no mailbox"):
        ask(guest.target(), symbols(), "ping", 0, 10.0)


def test_running_until_ready() -> None:
    """The flag is watched; a stop and a time-out end the wait."""
    guest = Guest()
    run_until_ready(guest.target(), symbols(), 1.0)
    guest.memory[FLAGS] &= ~2
    with pytest.raises(CommandError, match="did not become ready within 0 s"):
        run_until_ready(guest.target(), symbols(), 0.0)
    guest.event = StopEvent("shutdown", 3)
    with pytest.raises(CommandError, match=r"stopped \(shutdown\) before KLOS was ready"):
        run_until_ready(guest.target(), symbols(), 1.0)
