"""An event at the very beginning: the guest stands at the first instruction of a stub."""

from collections.abc import Callable
from dataclasses import replace

from klosdbg.errors import CommandError
from klosdbg.events.event import Event, Time
from klosdbg.events.expression import Expression
from klosdbg.ports import Symbols, Target
from klosdbg.recording.discovery import Stub, discover
from klosdbg.recording.plain_stops import read_frame
from klosdbg.recording.stop_registers import QuickRegisters
from klosdbg.recording.task_stops import outgoing, switched

_PAGE_FAULT = 14

TellMore = Callable[[Event], Event]
"""Adds what the guest's system knows of an event that has just begun."""


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
    target: Target,
    symbols: Symbols | None,
    stub: Stub,
    wanted: Expression,
    tell_more: TellMore | None,
    own_ldts: bool,
) -> Callable[[], bool]:
    """Make a test whether an expression holds for the event whose stub the guest stands at.

    ``own_ldts`` tells that what runs has an LDT of its own.
    """
    registers = QuickRegisters(target, own_ldts=own_ldts)

    def holds() -> bool:
        event = _event(target, symbols, registers, stub)
        return wanted.holds(tell_more(event) if tell_more else event)

    return holds


def _event(target: Target, symbols: Symbols | None, quick: QuickRegisters, stub: Stub) -> Event:
    registers = quick.read()
    if stub.kind == "task-gate":
        _, left = outgoing(target)
        left = replace(left, symbol=symbols.name(left.linear) if symbols else None)
        return switched(target, target.linear, quick, registers, stub, left)
    frame = read_frame(target.linear, registers.stack, stub, registers.cpl)
    if frame is None:
        raise CommandError("the stack at the stub cannot be read: see 'regs' and 'tss'")
    source = quick.place(frame.cs, frame.eip, frame.eflags, registers.real)
    symbol = symbols.name(source.linear) if symbols else None
    return Event(
        seq=0,
        time=Time(0, "host-ns", perturbed=True),
        vector=stub.vector,
        error_code=frame.error_code,
        source=replace(source, ss=frame.ss, esp=frame.esp, symbol=symbol),
        stub=stub.entry,
        cr2=registers.cr2 if stub.vector == _PAGE_FAULT and not registers.real else None,
        real=registers.real,
    )
