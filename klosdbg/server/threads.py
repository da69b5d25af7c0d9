"""The guest's threads as a client's: names, and the saved registers of those that wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.other_task import with_ldt
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_selector
from klosdbg.server.registers import RegisterLayout, attributes, table_values
from klosdbg.session import Session
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Segment

PROCESSOR = 0x7FFF
"""The thread that stands for the processor while no thread of the system runs on it."""
ALONE = 1
"""The same where the system has no threads to show."""

_VM = 1 << 17
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")


@dataclass(frozen=True, slots=True)
class GuestThread:
    """A thread as a client sees it.

    One with ``saved`` registers waits, one with a ``cpu`` runs on another processor than the one
    that stopped; the one without either is what that processor executes. ``ldt`` is the selector of
    an LDT of its own.
    """

    number: int
    name: str
    state: str
    saved: Mapping[str, int] | None = None
    cpu: Cpu | None = None
    ldt: int | None = None

    @property
    def stopped(self) -> bool:
        """Tell whether its registers are those of the processor that stopped."""
        return self.saved is None and self.cpu is None


def read_guest_threads(session: Session, shown: bool) -> list[GuestThread]:
    """List the threads, the running one first; the processors where the system has none to show."""
    found = _system_threads(session) if shown else []
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


def _system_threads(session: Session) -> list[GuestThread]:
    read_threads = session.system.threads
    if read_threads is None:
        return []
    try:
        return [GuestThread(t.number, t.name, t.doing, t.saved, ldt=t.ldt) for t in read_threads()]
    except KlosdbgError:
        return []


def saved_values(
    here: Target, thread: GuestThread, layout: RegisterLayout, linear_pc: bool
) -> dict[str, int]:
    """Name the registers of a thread that waits; hidden parts are those of a load today.

    They are looked up in an LDT of its own where it has one.
    """
    saved = thread.saved or {}
    target = here if thread.ldt is None else with_ldt(here, thread.ldt)
    vm = bool(saved["eflags"] & _VM)
    values = dict(saved) | {"cpl": 3 if vm else saved["cs"] & 3, "eip_offset": saved["eip"]}
    values |= table_values(read_cpu(target))
    if thread.ldt is not None:
        values["ldtr"] = thread.ldt
    for name in _SEGMENTS:
        values |= (
            _paragraph(name, saved[name]) if vm else _segment_values(target, name, saved[name])
        )
    base = values.get("cs_base", 0) if linear_pc else 0
    values[layout.pc] = saved["eip"] + base & 0xFFFF_FFFF
    return values


def _paragraph(name: str, selector: int) -> dict[str, int]:
    return {name: selector, f"{name}_base": selector << 4, f"{name}_limit": 0xFFFF}


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
