"""How fast klosdbg is: bench."""

import time
from argparse import Namespace
from collections.abc import Iterator

from klosdbg.bench.measure import (
    Loop,
    TracedGuest,
    alternate,
    compare_decoding,
    compare_decoding_again,
    compare_pipeline,
    compare_tables,
)
from klosdbg.bench.models import Bench, Measured
from klosdbg.commands.base import command
from klosdbg.errors import CommandError, TargetLost, TargetTimeout
from klosdbg.events.filters import EventFilter
from klosdbg.klos.recorder.facts import KlosFacts
from klosdbg.klos.recorder.ring import RingRecorder
from klosdbg.models import Result
from klosdbg.ports import RunControl, Symbols, Target
from klosdbg.recording.stopping import StoppingRecorder
from klosdbg.recording.tracer import Tracer
from klosdbg.session import Factories, Session

_STOPS, _ROUNDS = 100, 31
_BUSY, _WORK = "run:touch:1000000", "attacks"
_PATIENCE = 60.0


@command(
    "bench",
    "measure klosdbg's speed, as ratios, on guests that it boots",
    example="bench",
    group="tools",
)
def bench(session: Session, _args: Namespace) -> Result:
    return Bench(tuple(_measured(session)))


def _measured(session: Session) -> Iterator[Measured]:
    if session.factories is None:
        raise CommandError("bench needs to boot guests, which this front end cannot")
    yield from _tables(session.factories)
    yield from _traces(session.factories)
    yield _ring(session.factories)


def _tables(factories: Factories) -> Iterator[Measured]:
    with factories.guest(shared=True) as ram, factories.guest(shared=False) as stub:
        gdtr = ram.registers.read().gdtr
        base, size = gdtr.base, 2 * (gdtr.limit + 1)
        yield compare_tables(ram.linear, stub.linear, base, size)
        yield compare_pipeline(stub.linear, base, size)
        raw = ram.linear.read(base, gdtr.limit + 1)
    yield compare_decoding(raw)
    yield compare_decoding_again(raw)


def _traces(factories: Factories) -> Iterator[Measured]:
    with factories.traced_guest(_BUSY) as guest:
        recorder = bench_recorder(guest)
        ratio = alternate(recorder, guest.bare, _STOPS, _ROUNDS)
        what = "events by stops: rate / that of a bare loop"
        yield Measured("trace-bare", what, ratio, 0.9)
        yield _beside_gdb(factories, guest, recorder)


def _beside_gdb(factories: Factories, guest: TracedGuest, recorder: Loop) -> Measured:
    what, ratio = "the same: rate / gdb's Python breakpoints", None
    try:
        with factories.gdb_loop(_BUSY, guest.places()) as gdb:
            ratio = alternate(recorder, gdb, _STOPS, _ROUNDS)
    except TargetLost as error:
        what = str(error)
    return Measured("trace-gdb", what, ratio, 1.5)


def bench_recorder(guest: TracedGuest) -> Loop:
    """Make what records as 'events record' does; the search for the stubs is not timed."""
    session = Session(symbols=guest.symbols)
    session.attach(guest.target)

    def record(stops: int) -> float:
        source = StoppingRecorder(guest.target, guest.symbols, follow=session.system.follow_events)
        session.tracer = Tracer(source, EventFilter(), stops // 2, session.add_event)
        began = time.perf_counter()
        session.control.resume()
        session.control.next_stop(_PATIENCE)
        seconds = time.perf_counter() - began
        session.tracer.stop()
        return seconds / source.stops

    return record


def _ring(factories: Factories) -> Measured:
    ratio = _instructions(factories, recorded=True) / _instructions(factories, recorded=False)
    what = "all attacks, ring read / off: instructions"
    return Measured("ring", what, ratio, 1.05, at_least=False)


def _instructions(factories: Factories, recorded: bool) -> int:
    """Count what the guest executes for the same work."""
    with factories.guest(shared=True, orders=_WORK, counted=True) as target:
        symbols = factories.symbols()
        control, count, done = target.control, target.instructions, symbols.address("orders_done")
        assert control is not None
        assert count is not None
        assert done is not None
        source = RingRecorder(target, symbols) if recorded else None
        if source is None:
            _switch_ring_off(target, symbols)
        else:
            source.start()
        control.insert(done)
        before = count()
        control.resume()
        _wait(control, source)
        return count() - before


def _switch_ring_off(target: Target, symbols: Symbols) -> None:
    assert target.linear_writer is not None
    target.linear_writer.write(KlosFacts(target, symbols).offset("events_on"), bytes(4))


def _wait(control: RunControl, source: RingRecorder | None) -> None:
    """Wait until the work is done, reading the ring as often as a recording does."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            control.wait(_PATIENCE if source is None else source.interval)
            return
        except TargetTimeout:
            if source is not None:
                for _event in source.poll():
                    pass
    raise CommandError(f"the guest did not finish its work in {_PATIENCE:g} s")
