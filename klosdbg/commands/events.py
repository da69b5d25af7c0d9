"""Events: recording them, showing them, stopping at one."""

from argparse import Namespace
from collections.abc import Callable

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, UsageError
from klosdbg.events.event import Event, Recorder
from klosdbg.events.expression import Expression
from klosdbg.events.statistics import statistics
from klosdbg.events.tree import by_recording, event_rows, event_trees
from klosdbg.models import BreakpointInfo, Result
from klosdbg.recording.discovery import Stub
from klosdbg.recording.event_condition import condition_at, stub_of
from klosdbg.recording.tracer import with_name
from klosdbg.running.events import (
    check_number,
    expression_of,
    filter_of,
    follow,
    record,
    start_tracer,
    stop_tracer,
    vector,
)
from klosdbg.session import Session

_FILTERS = (
    arg("--vector", "-v", action="append", metavar="V", help="only this vector: 14, 0xe, PF"),
    arg("--process", metavar="NAME|PID", help="only events that hit this process"),
    arg("--handler", completes="symbol", metavar="ADDRESS", help="only this handler's"),
    arg("--range", metavar="A..B", help="only those that hit at linear addresses A to B"),
    arg("--cpl", type=integer, choices=range(4), metavar="0-3", help="only from this ring"),
    arg("--errors", action="store_true", help="only exceptions"),
    arg("--if", dest="condition", metavar="EXPR", help="only where this holds: 'depth > 1'"),
)
_RING = arg("--ring", action="store_true", help="read KLOS's own ring, without any stop")
_STOPPING = arg("--stopping", action="store_true", help="stop the guest at each, without the ring")
_LATER = {"out", "back", "tlb_flush", "eoi", "resumed", "spent", "complete", "seq", "time"}
_LATER |= {"stub_symbol", "handler_symbol"}
_NUMBER = arg("-n", dest="number", type=integer, metavar="N", help="the first N of them")


@command(
    "events record",
    "let the guest run and record N events",
    _NUMBER,
    _RING,
    _STOPPING,
    *_FILTERS,
    example="events record -n 200 --errors",
    group="record",
)
def events_record(session: Session, args: Namespace) -> Result:
    _require_number(session, args)
    start_tracer(session, args, _kind(args) or "stopping")
    return record(session)


@command(
    "events start",
    "record events from now on, whenever the guest runs",
    _NUMBER,
    _RING,
    _STOPPING,
    *_FILTERS,
    example="events start --vector 14",
    group="record",
)
def events_start(session: Session, args: Namespace) -> Result:
    return start_tracer(session, args, _kind(args)).state()


@command("events stop", "end the recording", example="events stop", group="record")
def events_stop(session: Session, _args: Namespace) -> Result:
    return stop_tracer(session, "asked")


@command(
    "events show",
    "show the events that were recorded",
    _NUMBER,
    arg("--tree", action="store_true", help="each from stub to return, nested ones inside"),
    *_FILTERS,
    example="events show --tree --vector GP",
    group="record",
)
def events_show(session: Session, args: Namespace) -> Result:
    check_number(args)
    shown = _wanted(session, args)[: args.number]
    return by_recording(shown, event_trees if args.tree else event_rows)


@command(
    "events stats",
    "count the recorded events by vector, and how long they took",
    *_FILTERS,
    example="events stats",
    group="record",
)
def events_stats(session: Session, args: Namespace) -> Result:
    return statistics(_wanted(session, args))


@command(
    "events follow",
    "let the guest run and show events as they come; Ctrl-C ends it",
    _NUMBER,
    _RING,
    _STOPPING,
    *_FILTERS,
    example="events follow --process ping",
    group="record",
)
def events_follow(session: Session, args: Namespace) -> Result:
    _require_number(session, args)
    start_tracer(session, args, _kind(args))
    return follow(session)


@command(
    "b event",
    "stop at the stub of a vector, if an expression over the event holds",
    arg("vector", metavar="VECTOR", help="14, 0xe, PF"),
    arg("condition", nargs="*", default=[], metavar="if EXPR", help="as in 'events show --if'"),
    example='b event 11 if error.index == 0x173 and process == "attacker"',
    group="breakpoints",
    aliases=("break event",),
    keeps_quotes=True,
)
def break_at_event(session: Session, args: Namespace) -> Result:
    stub, wanted = event_stop(session, args)
    asked = f"event {stub.vector}" + (f" if {wanted.text}" if wanted else "")
    test = event_condition(session, stub, wanted) if wanted else None
    made = session.add_breakpoint(stub.entry, asked, test)
    return BreakpointInfo(made.number, made.address, made.wanted, made.hits)


def event_stop(session: Session, args: Namespace) -> tuple[Stub, Expression | None]:
    """Find the stub to stop at, and what has to hold there; ``UsageError`` for a bad condition."""
    wanted = expression_of(_condition(args.condition))
    later = ", ".join(sorted(wanted.names & _LATER)) if wanted else ""
    if later:
        raise UsageError(
            f"b event: not known yet at a stub: {later}: 'events record --if' records with it"
        )
    return stub_of(session.target, vector(args.vector)), wanted


def event_condition(session: Session, stub: Stub, wanted: Expression) -> Callable[[], bool]:
    """Make a test whether an expression holds for the event whose stub the guest stands at."""
    system = session.search_system()
    tell_more = system.tell_at_stub() if system.tell_at_stub else None
    found = (session.target, session.symbols, stub, wanted, tell_more, system.own_ldts)
    return condition_at(*found)


def _condition(words: list[str]) -> str | None:
    if words and (words[0] != "if" or len(words) == 1):
        raise UsageError("b event: write 'if' and an expression: b event 11 if cpl == 3")
    return " ".join(words[1:]) or None


def _kind(args: Namespace) -> Recorder | None:
    if args.ring and args.stopping:
        raise UsageError("--ring and --stopping exclude each other")
    return "ring" if args.ring else "stopping" if args.stopping else None


def _require_number(session: Session, args: Namespace) -> None:
    if args.number is None and not session.interactive:
        raise UsageError("without a terminal say how many events: -n 200")


def _wanted(session: Session, args: Namespace) -> list[Event]:
    wanted, names = filter_of(session, args), session.system.vector_names
    recorded = [with_name(event, names) for event in _recorded(session)]
    found = [event for event in recorded if wanted.wants(event)]
    if not found:
        session.warn(f"none of {len(recorded)} events passes the filter")
    return found


def _recorded(session: Session) -> list[Event]:
    if session.tracer is not None:
        session.tracer.poll()
    if not session.events:
        raise CommandError("no events were recorded: 'events record -n 100' records some")
    return session.events
