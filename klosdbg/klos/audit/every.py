"""An audit after each relocation, at the event-return gate, when its event has been settled."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.audit.run import audit
from klosdbg.klos.dsos_models import Audited
from klosdbg.klos.find import booted_klos, read_one
from klosdbg.klos.layout import members
from klosdbg.klos.relocation_log import read_log
from klosdbg.ports import RunControl, Symbols, Target
from klosdbg.x86.findings import Finding, Findings

_RELOCATIONS = next(m.offset for m in members(KlosInfo) if m.name == "relocations")
_BY_CHANCE = ("application-memory", "application-register")
_NONE = (
    "no relocation within {timeout:g} s, after {done} of {wanted}: "
    "'mailbox start touch 99999' lets an application cause some"
)


class NoRelocationError(CommandError):
    """Report that DSOS did not move in time."""


def audit_each(
    target: Target,
    symbols: Symbols | None,
    wanted: int,
    timeout: float | None,
    cause: Callable[[], None] = lambda: None,
) -> Iterator[Audited]:
    """Let the guest run, and audit it after each of the next ``wanted`` relocations.

    A number like DSOS's in an application is a note, and an error where it follows DSOS. Several
    relocations in one event are audited once, and count as many. ``cause`` is called before each,
    with the guest stopped. The guest is stopped at the end. ``timeout`` in seconds bounds the wait
    for each; ``CommandError`` where none comes.
    """
    control = target.control
    if control is None:
        raise CommandError(f"{target.name} cannot run: it is a recording, 'dsos audit' looks at it")
    klos = booted_klos(target, symbols)
    info, counter = klos.info, klos.address + _RELOCATIONS
    if not info.return_gate:
        raise CommandError("no place to audit at: klos_info.return_gate is 0 (docs/porting.md)")
    seen, done, suspects = info.relocations, 0, _Suspects()
    while done < wanted:
        cause()
        if not _moves(target, control, info.return_gate, counter, seen, timeout):
            raise NoRelocationError(_NONE.format(timeout=timeout, done=done, wanted=wanted))
        now = read_one(target, klos.address, KlosInfo)
        found = suspects.judge(audit(target, symbols))
        yield Audited(tuple(read_log(target, now, seen)), found)
        done += now.relocations - seen
        seen = now.relocations


class _Suspects:
    """Places of applications that held a number like DSOS's once: by chance, unless it follows."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    def judge(self, found: Findings) -> Findings:
        """Call what was found there for the first time a note, and a leak what followed DSOS."""
        judged = tuple(map(self._judged, found.findings))
        self._places |= {f.where for f in found.findings if f.rule in _BY_CHANCE}
        return Findings(judged)

    def _judged(self, finding: Finding) -> Finding:
        if finding.rule not in _BY_CHANCE:
            return finding
        return replace(finding, severity="error" if finding.where in self._places else "note")


def _moves(
    target: Target, control: RunControl, gate: int, counter: int, seen: int, timeout: float | None
) -> bool:
    """Run until the counter of relocations is no longer ``seen``; False where it stays so."""
    ends = time.monotonic() + (timeout or math.inf)
    control.insert(gate)
    try:
        while (left := ends - time.monotonic()) > 0:
            stopped = _run(control, left)
            if int.from_bytes(target.linear.read(counter, 4), "little") != seen:
                return True
            if stopped and target.registers.read().linear_pc != gate:
                raise CommandError("the guest stopped elsewhere before DSOS moved: 'c' goes on")
        return False
    finally:
        control.interrupt()
        control.remove(gate)


def _run(control: RunControl, seconds: float) -> bool:
    """Let the guest run until it stops; False where it had to be interrupted in the end."""
    control.resume()
    try:
        control.wait(None if seconds == math.inf else seconds)
    except TargetTimeout:
        control.interrupt()
        return False
    return True
