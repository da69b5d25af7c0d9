"""An audit after each relocation, at the event-return gate, when its event has been settled."""

import math
import time
from collections.abc import Iterator

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.audit.run import audit
from klosdbg.klos.dsos_models import Audited
from klosdbg.klos.find import booted_klos
from klosdbg.klos.relocation_log import read_log
from klosdbg.ports import RunControl, Symbols, Target

_NONE = (
    "no relocation within {timeout:g} s, after {done} of {wanted}: "
    "'mailbox start touch 99999' lets an application cause some"
)


def audit_each(
    target: Target, symbols: Symbols | None, wanted: int, timeout: float | None
) -> Iterator[Audited]:
    """Let the guest run, and audit it after each of the next ``wanted`` relocations.

    Several relocations in one event are audited once, and count as many. The guest is stopped at
    the end. ``timeout`` in seconds bounds the wait for each; ``CommandError`` where none comes.
    """
    control = target.control
    if control is None:
        raise CommandError(f"{target.name} cannot run: it is a recording, 'dsos audit' looks at it")
    info = booted_klos(target, symbols).info
    seen, done = info.relocations, 0
    control.insert(info.return_gate)
    try:
        while done < wanted:
            now = _next(target, symbols, control, seen, timeout)
            if now is None:
                raise CommandError(_NONE.format(timeout=timeout, done=done, wanted=wanted))
            yield Audited(tuple(read_log(target, now, seen)), audit(target, symbols))
            done += now.relocations - seen
            seen = now.relocations
    finally:
        control.remove(info.return_gate)


def _next(
    target: Target, symbols: Symbols | None, control: RunControl, seen: int, timeout: float | None
) -> KlosInfo | None:
    """Run until the counter of relocations has moved; None where it does not in time."""
    ends = time.monotonic() + (timeout or math.inf)
    while time.monotonic() < ends:
        here = _to_gate(target, control, timeout)
        info = booted_klos(target, symbols).info
        if info.relocations != seen:
            return info
        if here != info.return_gate:
            raise CommandError("the guest stopped elsewhere before DSOS moved: 'c' goes on")
    return None


def _to_gate(target: Target, control: RunControl, timeout: float | None) -> int:
    control.resume()
    try:
        control.wait(timeout)
    except TargetTimeout:
        control.interrupt()
    except KeyboardInterrupt:
        control.interrupt()
        raise
    return target.registers.read().linear_pc
