"""KLOS behind the door: what generic rooms may know of it, as a ``System``."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosFrame, KlosInfo, KlosProcess, KlosRelocation
from klosdbg.klos.constants import Cause, State, Wait, label
from klosdbg.klos.find import SYMBOL, find_by_symbol, find_klos, read_array, try_read
from klosdbg.klos.models import Klos, ThreadState
from klosdbg.klos.os_tables import read_events, read_relocations
from klosdbg.klos.processes import read_processes, read_threads
from klosdbg.klos.roles import ROLES
from klosdbg.klos.snapshot_readers import KnownKlos, snapshot_readers
from klosdbg.klos.system import read_handlers, read_services
from klosdbg.klos.vectors import own_names
from klosdbg.ports import Symbols, Target
from klosdbg.system import Row, Runs, System, SystemProcess, SystemThread

if TYPE_CHECKING:
    from klosdbg.recording.discovery import EventPaths
    from klosdbg.recording.event_condition import TellMore
    from klosdbg.recording.stop_registers import QuickRegisters, ReadAhead
    from klosdbg.recording.stopping import Stops
    from klosdbg.recording.tracer import EventSource

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
    return _system(target, symbols, found) if found else None


def _system(target: Target, symbols: Symbols | None, klos: Klos) -> System:
    info, booted = klos.info, klos.booted
    known = symbols if klos.found == "symbol" and symbols else KnownKlos(klos.address, symbols)
    named = symbols is not None and symbols.address(SYMBOL) is not None
    # Before paging is on a search finds it where it will not be later.
    lasting = known if booted and not named else symbols
    return System(
        "KLOS",
        selector_roles={role: getattr(info, name) for role, name in ROLES.items()},
        vector_names=own_names(info),
        event_gate=info.gate_selector,
        who_runs=partial(_who_runs, target, info),
        processes=partial(_processes, target, info) if booted else None,
        threads=partial(_threads, target, known) if booted else None,
        ring=partial(_ring, target, known) if booted and info.events.count else None,
        follow_events=partial(_follow_events, target, known) if booted else None,
        tell_at_stub=partial(_tell_at_stub, target, known) if booted else None,
        tables={
            "events": partial(read_events, target, known),
            "relocations": partial(read_relocations, target, known),
        },
        states=_states(target, known, info),
        relocations=info.relocations,
        relocation_log=partial(_relocation_log, target, info) if booted else None,
        snapshot_readers=lambda through, code: snapshot_readers(through, known, klos, code),
        symbols=lasting,
    )


def _who_runs(target: Target, info: KlosInfo) -> Runs | None:
    processes = try_read(target, info.processes, KlosProcess, "processes")
    running = (p.name for p in processes if p.pid == info.current_pid and p.state)
    return next((Runs(name, info.current_pid) for name in running), None)


def _processes(target: Target, info: KlosInfo) -> list[SystemProcess]:
    found = read_array(target, info.processes, KlosProcess, "processes")
    alive = (p for p in found if p.state not in (State.FREE, State.ENDED))
    return [SystemProcess(p.pid, p.name, p.cr3) for p in alive]


def _threads(target: Target, symbols: Symbols) -> list[SystemThread]:
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
        saved=None if state.current or state.frame is None else _saved(state.frame),
    )


def _saved(frame: KlosFrame) -> dict[str, int]:
    values = {name: getattr(frame, name) for name in _REGISTERS}
    return values | {name: getattr(frame, name) & 0xFFFF for name in _SEGMENTS}


# The recorders disassemble: what needs none of them is quicker without.


def _ring(target: Target, symbols: Symbols) -> "EventSource":
    from klosdbg.klos.recorder.ring import RingRecorder

    return RingRecorder(target, symbols)


def _follow_events(
    target: Target,
    symbols: Symbols,
    memory: "ReadAhead",
    paths: "EventPaths",
    registers: "QuickRegisters",
    vectors: Collection[int],
) -> "Stops":
    from klosdbg.klos.recorder.bypass import StopsBesideCore
    from klosdbg.klos.recorder.facts import KlosFacts

    facts = KlosFacts(target, symbols, memory)
    return StopsBesideCore(memory, target, paths, registers, facts, count(1), vectors)


def _tell_at_stub(target: Target, symbols: Symbols) -> "TellMore":
    from klosdbg.klos.recorder.at_stub import teller

    return teller(target, symbols)


def _states(
    target: Target, symbols: Symbols, info: KlosInfo
) -> Mapping[str, Callable[[], Mapping[str, object]]]:
    def processes() -> Mapping[str, object]:
        found = read_processes(target, symbols, True).processes
        return {f"process {process.pid}": process for process in found}

    def threads() -> Mapping[str, object]:
        found = read_threads(target, symbols).threads
        return {f"thread {state.thread.tid}": state.thread for state in found}

    def services() -> Mapping[str, object]:
        table = read_services(target, symbols).table
        return {f"service_table[{n:#x}]": {"service": at} for n, at in enumerate(table)}

    def handlers() -> Mapping[str, object]:
        rows = read_handlers(target, symbols, True).rows
        return {f"handler_table[{row.vector:#x}]": {"handler": row.handler} for row in rows}

    return {
        "klos": lambda: {"klos": info},
        "processes": processes,
        "threads": threads,
        "services": services,
        "handlers": handlers,
    }


def _relocation_log(target: Target, info: KlosInfo) -> list[Row]:
    log = read_array(target, info.relocation_log, KlosRelocation, "relocation_log")
    return [_plain(entry) for entry in sorted(log, key=lambda entry: entry.seq) if entry.seq]


def _plain(relocation: KlosRelocation) -> Row:
    causes = {cause.value: cause.name.lower() for cause in Cause}
    cause = causes.get(relocation.cause, str(relocation.cause))
    return {**asdict(relocation), "cause": cause, "time": hex(relocation.time)}
