"""Asking the running guest for something, through the mailbox of ``klos_info``. Writes to it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.klos.abi import KlosMailbox
from klosdbg.klos.constants import Mailbox, label
from klosdbg.klos.find import booted_klos, find_klos, read_one, read_panic
from klosdbg.klos.layout import members
from klosdbg.klos.models import Change, MailboxAnswer
from klosdbg.ports import RunControl, StopEvent, Symbols, Target

_FIRST_SLICE = 0.02
_LONGEST_SLICE = 0.5
_FIRST_TICK = 3.0
_SILENT = 2.0
_FIELDS = {member.name: member for member in members(KlosMailbox)}
_STOPPED_EARLY = "the guest stopped ({reason}) before it answered {command!r}: 'c' lets it go on"


def ask(
    target: Target,
    symbols: Symbols | None,
    command: str,
    argument: int,
    timeout: float | None,
    progress: Callable[[str], None] = lambda _: None,
) -> MailboxAnswer:
    """Write a request, let the guest run until it has answered, and stop it again.

    ``timeout`` is in seconds, None for ever. The guest must be stopped. Raises ``CommandError``
    where there is no mailbox, the guest is busy, or it does not answer.
    """
    return post(target, symbols, command, argument).answer(timeout, progress)


def post(target: Target, symbols: Symbols | None, command: str, argument: int) -> "Posted":
    """Write a request to a stopped guest, which sees it at its next timer tick.

    Raise ``CommandError`` as ``ask`` does.
    """
    control = target.control
    if control is None:
        raise CommandError(f"{target.name} cannot run: nothing there answers a mailbox")
    if target.linear_writer is None:
        raise CommandError(f"{target.name} takes no requests: {target.read_only}")
    if control.running:
        raise CommandError("the guest is running: 'interrupt' it before you write to it")
    _require_no_panic(target, symbols, "before")
    address = _address(target, symbols, control)
    before = read_one(target, address, KlosMailbox)
    changes = tuple(_request(target, address, before, command, argument))
    return Posted(target, symbols, control, address, command, argument, changes)


@dataclass(frozen=True, slots=True)
class Posted:
    """A request in the mailbox; ``changes`` is what was written for it."""

    target: Target
    symbols: Symbols | None
    control: RunControl
    address: int
    command: str
    argument: int
    changes: tuple[Change, ...]

    def answer(
        self, timeout: float | None, progress: Callable[[str], None] = lambda _: None
    ) -> MailboxAnswer:
        """Let the guest run until it has answered, and stop it; ``timeout`` in seconds."""
        self._await(timeout, progress)
        answer = self._read()
        _write(self.target, self.address, "status", _number(Mailbox.EMPTY))
        status: Literal["done", "error"] = "done" if answer.status == Mailbox.DONE else "error"
        return MailboxAnswer(
            self.command, self.argument, status, answer.result, answer.text, self.changes
        )

    def take_back(self) -> bool:
        """Take the request back, if the guest, which is stopped, has not looked at it yet."""
        unseen = self._read().status == Mailbox.REQUEST
        if unseen:
            _write(self.target, self.address, "status", _number(Mailbox.EMPTY))
        return unseen

    def _await(self, timeout: float | None, progress: Callable[[str], None]) -> None:
        start, slice_ = time.monotonic(), _FIRST_SLICE
        while not self._answered():
            event = run_for(self.control, slice_)
            _require_no_panic(self.target, self.symbols, f"during {self.command!r}")
            if self._answered():
                return
            if event is not None:
                raise CommandError(_STOPPED_EARLY.format(reason=event.reason, command=self.command))
            passed = time.monotonic() - start
            if timeout is not None and passed > timeout:
                self._give_up(timeout)
            if passed > _SILENT:
                progress(f"{self.command}: {passed:.0f} s")
            slice_ = min(slice_ * 1.5, _LONGEST_SLICE)

    def _answered(self) -> bool:
        return self._read().status in (Mailbox.DONE, Mailbox.ERROR)

    def _give_up(self, timeout: float) -> NoReturn:
        stood = "it works on it, and 'c' lets it go on"
        if self.take_back():
            stood = "it never looked, so the request was taken back"
        raise CommandError(
            f"the guest did not answer {self.command!r} within {timeout:g} s: {stood} "
            "(--timeout 0 waits for ever)"
        )

    def _read(self) -> KlosMailbox:
        return read_one(self.target, self.address, KlosMailbox)


def _address(target: Target, symbols: Symbols | None, control: RunControl) -> int:
    """Find the mailbox; the guest names it at its first timer tick."""
    start = time.monotonic()
    while True:
        address = booted_klos(target, symbols).info.mailbox
        if address:
            return address
        if time.monotonic() - start > _FIRST_TICK or run_for(control, _FIRST_SLICE):
            raise CommandError("this KLOS has no mailbox (klos_info.mailbox is 0): 'c' a little")


def _request(
    target: Target, address: int, before: KlosMailbox, command: str, argument: int
) -> Iterator[Change]:
    if before.status in (Mailbox.REQUEST, Mailbox.RUNNING):
        raise CommandError(
            f"the guest still works on {before.command!r}: let it run ('c &') and ask again"
        )
    if not -(1 << 31) <= argument < 1 << 32:
        raise CommandError(f"{argument:#x} does not fit the mailbox: an argument has 32 bits")
    _write(target, address, "command", _text(command))
    yield _change(address, "command", before.command, command)
    _write(target, address, "argument", _number(argument))
    yield _change(address, "argument", f"{before.argument:#x}", f"{argument:#x}")
    _write(target, address, "status", _number(Mailbox.REQUEST))
    yield _change(address, "status", label(Mailbox, before.status), label(Mailbox, Mailbox.REQUEST))


def _number(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def _text(command: str) -> bytes:
    size = _FIELDS["command"].size
    raw = command.encode("utf-8")
    if len(raw) >= size:
        raise CommandError(f"a request has at most {size - 1} bytes, this one {len(raw)}")
    return raw.ljust(size, b"\0")


def _change(address: int, field: str, before: str, after: str) -> Change:
    return Change(f"mailbox.{field}", address + _FIELDS[field].offset, before, after)


def _write(target: Target, address: int, field: str, raw: bytes) -> None:
    assert target.linear_writer is not None
    target.linear_writer.write(address + _FIELDS[field].offset, raw)


def _require_no_panic(target: Target, symbols: Symbols | None, when: str) -> None:
    panic = read_panic(target, booted_klos(target, symbols).info)
    if panic is not None:
        raise CommandError(
            f"KLOS panicked {when}: {panic.reason} ('klos' shows it all, 'reset' starts it anew)"
        )


def run_until_ready(target: Target, symbols: Symbols | None, timeout: float | None) -> None:
    """Let the guest run until KLOS says that it is ready; ``CommandError`` after ``timeout`` s."""
    control = target.control
    if control is None:
        raise CommandError(f"{target.name} cannot run: it is a recording")
    start = time.monotonic()
    while not find_klos(target, symbols).ready:
        event = run_for(control, _FIRST_SLICE)
        if event is not None:
            raise CommandError(f"the guest stopped ({event.reason}) before KLOS was ready")
        if timeout is not None and time.monotonic() - start > timeout:
            raise CommandError(f"KLOS did not become ready within {timeout:g} s")


def run_for(control: RunControl, seconds: float) -> StopEvent | None:
    """Let the guest run for a while and stop it; return the stop if it stopped by itself."""
    control.resume()
    try:
        return control.wait(seconds)
    except TargetTimeout:
        event = control.interrupt()
        return None if event.reason == "interrupt" else event
    except KeyboardInterrupt:
        control.interrupt()
        raise
