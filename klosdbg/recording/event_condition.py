"""An event at the very beginning: the guest stands at the first instruction of a stub."""

from collections.abc import Callable
from dataclasses import replace

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.events.event import Event, Origin, Time
from klosdbg.events.expression import Expression
from klosdbg.klos.find import read_numbers
from klosdbg.ports import Symbols, Target
from klosdbg.recording.discovery import Stub, discover
from klosdbg.recording.klos_facts import KlosFacts
from klosdbg.recording.plain_stops import read_frame
from klosdbg.recording.stop_registers import QuickRegisters
from klosdbg.recording.task_stops import outgoing, switched

_PAGE_FAULT = 14


def stub_of(target: Target, vector: int) -> Stub:
    """Find a vector's stub in the live IDT, or raise ``CommandError``."""
    paths = discover(target)
    stub = paths.stubs.get(vector)
    if stub is None:
        why = "leads nowhere: see 'ivt'"
        if not paths.real:
            why = f"has no gate that is present: see 'idt {vector}'"
        raise CommandError(f"vector {vector} {why}")
    return stub


def condition_at(
    target: Target, symbols: Symbols | None, stub: Stub, wanted: Expression
) -> Callable[[], bool]:
    """Make a test whether an expression holds for the event whose stub the guest stands at."""
    facts = _facts(target, symbols)
    registers = QuickRegisters(target)
    return lambda: wanted.holds(_event(target, symbols, facts, registers, stub))


def _facts(target: Target, symbols: Symbols | None) -> KlosFacts | None:
    try:
        return KlosFacts(target, symbols)
    except KlosdbgError:
        return None


def _event(
    target: Target,
    symbols: Symbols | None,
    facts: KlosFacts | None,
    quick: QuickRegisters,
    stub: Stub,
) -> Event:
    registers = quick.read()
    if stub.kind == "task-gate":
        left = outgoing(target, quick)
        left = replace(left, symbol=symbols.name(left.linear) if symbols else None)
        event = switched(target, target.linear, quick, registers, stub, left)
        return _of_klos(target, facts, event) if facts else event
    frame = read_frame(target.linear, registers.stack, stub, registers.cpl)
    if frame is None:
        raise CommandError("the stack at the stub cannot be read: see 'regs' and 'tss'")
    source = quick.place(frame.cs, frame.eip, frame.eflags, registers.real)
    symbol = symbols.name(source.linear) if symbols else None
    event = Event(
        seq=0,
        time=Time(0, "host-ns", perturbed=True),
        vector=stub.vector,
        error_code=frame.error_code,
        source=replace(source, ss=frame.ss, esp=frame.esp, symbol=symbol),
        stub=stub.entry,
        cr2=registers.cr2 if stub.vector == _PAGE_FAULT and not registers.real else None,
        real=registers.real,
    )
    return _of_klos(target, facts, event) if facts else event


def _of_klos(target: Target, facts: KlosFacts, event: Event) -> Event:
    memory = target.linear_at_stop or target.linear
    running = facts.running(*memory.read_many(facts.running_requests()))
    handlers = read_numbers(target, facts.info.handlers, 4, "handlers")
    idle = event.source.eip == facts.info.idle_site and event.source.cpl == 0
    origin: Origin = "idle" if idle else "program"
    return replace(
        event,
        depth=running.depth + 1,
        process=facts.process(running.pid),
        pid=running.pid,
        tid=running.tid,
        handler=handlers[event.vector] if event.vector < len(handlers) else None,
        origin=origin,
    )
