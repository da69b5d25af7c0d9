"""KLOS's threads as a client's threads: names, and registers from their saved contexts."""

from collections.abc import Sequence
from dataclasses import dataclass

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.abi import KlosFrame
from klosdbg.klos.constants import State, Wait, label
from klosdbg.klos.find import find_by_symbol
from klosdbg.klos.models import ThreadState
from klosdbg.klos.processes import read_threads
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_selector
from klosdbg.server.registers import Layout, attributes, table_values
from klosdbg.session import Session
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Segment

PROCESSOR = 0x7FFF
"""The thread that stands for the processor while no thread of KLOS runs on it."""
ALONE = 1
"""The same where there are no threads of KLOS to show."""

_FRAME_REGISTERS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eflags")
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")


@dataclass(frozen=True, slots=True)
class GuestThread:
    """A thread as a client sees it.

    One with a ``frame`` waits, one with a ``cpu`` runs on another processor than the one that
    stopped; the one without either is what that processor executes.
    """

    number: int
    name: str
    state: str
    frame: KlosFrame | None = None
    cpu: Cpu | None = None

    @property
    def stopped(self) -> bool:
        """Tell whether its registers are those of the processor that stopped."""
        return self.frame is None and self.cpu is None


def read_guest_threads(session: Session, shown: bool) -> list[GuestThread]:
    """List the threads, the running one first; the processors where KLOS has none to show."""
    found = _klos_threads(session) if shown else []
    if not found and session.target.processors is not None:
        return _processors(*session.target.processors())
    running = [thread for thread in found if thread.stopped]
    others = [thread for thread in found if not thread.stopped]
    number, state = (PROCESSOR, "runs no thread") if others else (ALONE, "the only thread")
    return [*(running or [GuestThread(number, "processor", state)]), *others]


def _processors(stopped: int, cpus: Sequence[Cpu]) -> list[GuestThread]:
    first = GuestThread(stopped + 1, f"processor {stopped}", "stopped here")
    others = [
        GuestThread(i + 1, f"processor {i}", "halted" if cpu.hlt else "running", cpu=cpu)
        for i, cpu in enumerate(cpus)
        if i != stopped
    ]
    return [first, *others]


def _klos_threads(session: Session) -> list[GuestThread]:
    try:
        klos = find_by_symbol(session.target, session.symbols)
        if klos is None or not klos.booted:
            return []
        states = read_threads(session.target, session.symbols).threads
    except KlosdbgError:
        return []
    return [_thread(state) for state in states if state.current or state.frame is not None]


def _thread(state: ThreadState) -> GuestThread:
    thread = state.thread
    doing = (
        label(Wait, thread.wait) if thread.state == State.BLOCKED else label(State, thread.state)
    )
    frame = None if state.current else state.frame
    return GuestThread(thread.tid, state.process, f"process {thread.pid}, {doing}", frame)


def frame_values(
    target: Target, frame: KlosFrame, layout: Layout, linear_pc: bool
) -> dict[str, int]:
    """Name the registers of a thread's saved context; hidden parts are those of a load today."""
    values = {name: getattr(frame, name) for name in _FRAME_REGISTERS}
    values |= {"cr3": frame.cr3, "cpl": frame.cs & 3, "eip_offset": frame.eip}
    values |= table_values(read_cpu(target))
    for name in _SEGMENTS:
        values |= _segment_values(target, name, getattr(frame, name) & 0xFFFF)
    base = values.get("cs_base", 0) if linear_pc else 0
    values[layout.pc] = frame.eip + base & 0xFFFF_FFFF
    return values


def _segment_values(target: Target, name: str, selector: int) -> dict[str, int]:
    values = {name: selector}
    try:
        descriptor = read_selector(target, selector).descriptor
    except CommandError:
        return values
    if not isinstance(descriptor, Segment):
        return values
    values |= {f"{name}_base": descriptor.base, f"{name}_limit": descriptor.last_byte}
    flags = int.from_bytes(descriptor.raw[4:8], "little") if descriptor.raw else 0
    return values | {f"{name}_attr": attributes(flags)}
