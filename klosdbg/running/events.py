"""How events are recorded for a session: until there are enough, something stops it, or Ctrl-C."""

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from klosdbg.errors import CommandError, KlosdbgError, TargetLost, TargetTimeout, UsageError
from klosdbg.events.event import Recorder
from klosdbg.events.expression import Expression, parse_expression
from klosdbg.events.filters import EventFilter
from klosdbg.events.tree import EventHeading, EventRow
from klosdbg.interrupts import interrupts_deferred
from klosdbg.models import Stop
from klosdbg.read import resolve_code
from klosdbg.recording.models import End, Finished, Recorded
from klosdbg.recording.tracer import Tracer, make_source
from klosdbg.running.execution import stop_here
from klosdbg.session import Session
from klosdbg.x86.vectors import parse_vector

_SLICE = 1.0
_GLANCE = 0.1
_VECTORS = 256


def vector(word: str) -> int:
    """Read a vector (``14``, ``0xe``, ``PF``), or raise ``UsageError``."""
    found = parse_vector(word)
    if found is None:
        try:
            found = int(word, 0)
        except ValueError:
            found = -1
    if not 0 <= found < _VECTORS:
        raise UsageError(f"{word!r} is no vector: write 14, 0xe or PF")
    return found


def filter_of(session: Session, args: Namespace) -> EventFilter:
    """Make the filter that the options ask for."""
    return EventFilter(
        vectors=frozenset(map(vector, args.vector or ())),
        process=args.process,
        handler=_address(session, args.handler),
        addresses=_range(session, args.range),
        cpl=args.cpl,
        errors=args.errors,
        condition=expression_of(args.condition),
    )


def check_number(args: Namespace) -> None:
    """Raise ``UsageError`` for ``-n`` with no number of events."""
    if args.number is not None and args.number < 1:
        raise UsageError("-n: at least one event")


def expression_of(text: str | None) -> Expression | None:
    """Parse the condition that an option holds."""
    return None if text is None else parse_expression(text)


def _address(session: Session, wanted: str | None) -> int | None:
    if wanted is None:
        return None
    if not session.has_target:
        found = session.symbols.address(wanted) if session.symbols else None
        return found if found is not None else _number(wanted)
    return resolve_code(session.target, session.symbols, wanted)


def _number(wanted: str) -> int:
    try:
        return int(wanted, 0)
    except ValueError:
        raise CommandError(f"{wanted}: no such symbol, and no target to ask") from None


def _range(session: Session, wanted: str | None) -> tuple[int, int] | None:
    if wanted is None:
        return None
    first, dots, last = wanted.partition("..")
    if not (first and dots and last):
        raise UsageError(f"{wanted!r} is no range of addresses: write 0xc0100000..0xc010ffff")
    start, end = _address(session, first), _address(session, last)
    assert start is not None
    assert end is not None
    if start > end:
        raise UsageError(f"{wanted!r} ends before it begins: write the lower address first")
    return start, end


def start_tracer(session: Session, args: Namespace, kind: Recorder | None) -> Tracer:
    """Begin a new recording, in place of the last one's events.

    Raise ``CommandError`` where one is under way.
    """
    if session.tracer is not None:
        raise CommandError("events are being recorded already: 'events stop' ends that")
    wanted = filter_of(session, args)
    check_number(args)
    system = session.search_system()
    source = make_source(session.target, session.symbols, kind, wanted, system)
    tracer = Tracer(source, wanted, args.number, session.add_event, system.vector_names)
    session.events = []
    session.tracer = tracer
    return tracer


def stop_tracer(session: Session, end: End) -> Recorded:
    """End the recording, or raise ``CommandError`` where there is none.

    The guest is left as it is, stopped or running.
    """
    tracer = session.tracer
    if tracer is None:
        raise CommandError("no events are being recorded: 'events start' begins")
    hint = ": Ctrl-C leaves them out" if end == "interrupt" else ""
    try:
        with _held(session, tracer):
            return tracer.stop(
                end, lambda left: session.progress(f"{left} more events to come{hint}")
            )
    except KeyboardInterrupt:
        _warn_interrupted(session, tracer.state("interrupt"))
        raise
    finally:
        session.events.sort(key=lambda event: event.seq)


@contextmanager
def _held(session: Session, tracer: Tracer) -> Iterator[None]:
    """Stop a running guest meanwhile, where the recorder stops it; it is no party after that."""
    was_running = tracer.stopping and session.control.running
    try:
        interrupted = was_running and session.control.interrupt().reason == "interrupt"
    finally:
        session.tracer = None
    try:
        yield
    finally:
        if interrupted:
            session.control.resume()


def record(session: Session) -> Finished:
    """Run until the tracer has enough; one that records a running guest leaves it running."""
    was_running = session.control.running
    stop: Stop | None = None
    end: End = "limit"
    try:
        event = _run(session)
        if event is not None:
            stop, end = event, "stop"
    except TargetTimeout:
        end = "time-out"
    except KeyboardInterrupt:
        _halt_after_ctrl_c(session)
        recorded = stop_tracer(session, "interrupt")
        if session.interactive:
            return Finished(recorded)
        _warn_interrupted(session, recorded)
        raise
    except KlosdbgError:
        with suppress(KlosdbgError):
            stop_tracer(session, "stop")
        raise
    if not was_running:
        _halt(session)
    return _finished(session, stop_tracer(session, end), stop)


def _run(session: Session) -> Stop | None:
    tracer, began = session.tracer, time.monotonic()
    assert tracer is not None
    if not session.control.running:
        session.control.resume()
    while not tracer.full:
        try:
            event = session.control.next_stop(_slice(session, began))
        except TargetTimeout:
            state = tracer.state()
            session.progress(_progress(state))
            if _slice(session, began) <= 0:
                raise
            continue
        if event is not None and not tracer.full:
            return stop_here(session, event)
    return None


def _progress(state: Recorded) -> str:
    of_seen = f" of {state.seen}" if state.seen != state.kept else ""
    return f"{state.kept}{of_seen} events, {state.rate:.0f}/s, {state.seconds:.0f} s"


def _warn_interrupted(session: Session, recorded: Recorded) -> None:
    of_seen = f" of {recorded.seen} seen" if recorded.seen != recorded.kept else ""
    lost = f", {recorded.lost} more overwritten unread" if recorded.lost else ""
    left_out = f", {recorded.left_out} more left out" if recorded.left_out else ""
    session.warn(f"recorded until Ctrl-C: {recorded.kept} events{of_seen}{lost}{left_out}")


def _slice(session: Session, began: float) -> float:
    if session.timeout is None:
        return _SLICE
    return min(_SLICE, max(0.0, began + session.timeout - time.monotonic()))


def _halt(session: Session) -> None:
    if session.control.running:
        session.control.interrupt()
    session.in_background = False


def _halt_after_ctrl_c(session: Session) -> None:
    """Stop the guest; an impatient second one does not keep the recording from its end."""
    with suppress(KeyboardInterrupt, TargetLost), interrupts_deferred:
        _halt(session)


def _finished(session: Session, recorded: Recorded, stop: Stop | None) -> Finished:
    if recorded.end == "time-out":
        late = f"only {recorded.kept} events came within {session.timeout:g} s: "
        if session.interactive:
            late += "'events show' shows them (--timeout 0 waits for ever)"
        elif recorded.kept:
            late += "ask for fewer with -n, or wait longer with --timeout (0: for ever)"
        else:
            late += "filter less, or wait longer with --timeout (0: for ever)"
        return Finished(recorded, None, late)
    return Finished(recorded, stop, stop.failure if stop else None)


def follow(session: Session) -> Iterator[EventHeading | EventRow]:
    """Yield events as they come, until the tracer has enough or the caller closes this."""
    tracer, shown = session.tracer, 0
    assert tracer is not None
    was_running = session.control.running
    try:
        if not was_running:
            session.control.resume()
        heading = EventHeading()
        yield heading
        while True:
            over = _glance(session)
            fresh, shown = session.events[shown:], len(session.events)
            yield from (EventRow(event, heading) for event in fresh)
            if over:
                return
    except KeyboardInterrupt:
        if not was_running:
            _halt_after_ctrl_c(session)
        if session.tracer is not None:
            _warn_interrupted(session, stop_tracer(session, "interrupt"))
        raise
    finally:
        if session.tracer is not None:
            if not was_running:
                _halt(session)
            stop_tracer(session, "asked")


def _glance(session: Session) -> bool:
    try:
        event = session.control.next_stop(_GLANCE)
    except TargetTimeout:
        return False
    if event is not None and session.tracer is not None and not session.tracer.full:
        raise CommandError(f"the guest stopped ({event.reason}): 'c' lets it go on")
    return True
