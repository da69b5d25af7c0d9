"""``klos b event``: gdb's own breakpoint at a stub, whose condition is klosdbg's expression.

As a condition it is in ``info breakpoints``, ``condition`` edits it and ``save breakpoints`` keeps
it; ``stop`` of a subclass would be hidden, and gdb takes one of the two only.
"""

from argparse import Namespace
from collections.abc import Callable

import gdb

from klosdbg.commands.events import event_condition, event_stop
from klosdbg.errors import CommandError
from klosdbg.events.expression import parse_expression
from klosdbg.gdb_entry.gdb_session import HELD, guarded
from klosdbg.read import read_selector
from klosdbg.recording.discovery import Stub
from klosdbg.recording.event_condition import stub_of
from klosdbg.recording.saved_task import read_saved_task
from klosdbg.session import Session
from klosdbg.targets.in_gdb import shows_linear_pc


def register() -> None:
    """Declare the function that the breakpoints' conditions call."""
    _EventHolds("klos_event")


def break_at_event(session: Session, args: Namespace) -> None:
    """Set a breakpoint of gdb's at a vector's stub, as ``b event`` of the shell does."""
    stub, wanted = event_stop(session, args)
    _check_base(session, stub)
    made = gdb.Breakpoint(f"*{stub.entry:#x}")
    made.condition = f"$klos_event({stub.vector}{', ' + _quoted(wanted.text) if wanted else ''})"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _check_base(session: Session, stub: Stub) -> None:
    target, cs = session.target, stub.selector
    if stub.kind == "task-gate":
        task = read_saved_task(target, stub.selector)
        target, cs = task.seen_from(target), task.cs
    base = getattr(read_selector(target, cs).descriptor, "base", 0)
    if base and not shows_linear_pc():
        raise CommandError(
            f"the stub's code has base {base:#x}, where gdb misses breakpoints on QEMU's own "
            "stub: connect to 'klosdbg serve'"
        )


class _EventHolds(gdb.Function):  # type: ignore[misc]
    """$klos_event(VECTOR, "EXPR"): whether EXPR holds for the event whose stub gdb stopped at."""

    def invoke(self, vector: gdb.Value, text: gdb.Value | None = None) -> bool:
        """Evaluate over the event that begins here; without an expression it holds."""
        session = HELD.session()
        if text is None:
            return True
        return guarded(lambda: _test(session, HELD.guest(), int(vector), text.string())())


# For each hit: finding a stub reads the whole IDT, which a guest keeps.
_TESTS: dict[tuple[object, int, str], Callable[[], bool]] = {}


def _test(session: Session, guest: object, vector: int, text: str) -> Callable[[], bool]:
    key = (guest, vector, text)
    if key not in _TESTS:
        stub, expression = stub_of(session.target, vector), parse_expression(text)
        _TESTS[key] = event_condition(session, stub, expression)
    return _TESTS[key]
