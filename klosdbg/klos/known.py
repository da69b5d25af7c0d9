"""KLOS behind the door: what generic rooms may know of it, as a ``System``."""

from functools import partial

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosFrame, KlosInfo, KlosProcess
from klosdbg.klos.constants import State, Wait, label
from klosdbg.klos.find import find_by_symbol, find_klos, read_array, try_read
from klosdbg.klos.models import ThreadState
from klosdbg.klos.names import ROLES
from klosdbg.klos.processes import read_threads
from klosdbg.klos.vectors import own_names
from klosdbg.ports import Symbols, Target
from klosdbg.system import Runs, System, SystemProcess, SystemThread

_REGISTERS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags", "cr3")
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")


def find_klos_system(target: Target, symbols: Symbols | None, search: bool) -> System | None:
    """Find KLOS by the symbol ``klos_info``; ``search`` all memory for it where there is none.

    None where it is not there, or of another version.
    """
    try:
        found = (find_klos if search else find_by_symbol)(target, symbols)
    except KlosdbgError:
        return None
    if found is None:
        return None
    info = found.info
    return System(
        "KLOS",
        selector_roles={role: getattr(info, name) for role, name in ROLES.items()},
        vector_names=own_names(info),
        event_gate=info.gate_selector,
        who_runs=partial(_who_runs, target, info),
        processes=partial(_processes, target, info) if found.booted else None,
        threads=partial(_threads, target, symbols) if found.booted else None,
    )


def _who_runs(target: Target, info: KlosInfo) -> Runs | None:
    processes = try_read(target, info.processes, KlosProcess, "processes")
    running = (p.name for p in processes if p.pid == info.current_pid and p.state)
    return next((Runs(name, info.current_pid) for name in running), None)


def _processes(target: Target, info: KlosInfo) -> list[SystemProcess]:
    found = read_array(target, info.processes, KlosProcess, "processes")
    alive = (p for p in found if p.state not in (State.FREE, State.ENDED))
    return [SystemProcess(p.pid, p.name, p.cr3) for p in alive]


def _threads(target: Target, symbols: Symbols | None) -> list[SystemThread]:
    states = read_threads(target, symbols).threads
    return [_thread(state) for state in states if state.current or state.frame is not None]


def _thread(state: ThreadState) -> SystemThread:
    thread = state.thread
    blocked = thread.state == State.BLOCKED
    doing = label(Wait, thread.wait) if blocked else label(State, thread.state)
    return SystemThread(
        number=thread.tid,
        name=state.process,
        doing=f"process {thread.pid}, {doing}",
        pid=thread.pid,
        saved=None if state.current or state.frame is None else saved_registers(state.frame),
    )


def saved_registers(frame: KlosFrame) -> dict[str, int]:
    """Name the registers that a saved context holds."""
    values = {name: getattr(frame, name) for name in _REGISTERS}
    return values | {name: getattr(frame, name) & 0xFFFF for name in _SEGMENTS}
