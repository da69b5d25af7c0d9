"""Processes, threads, and who owns the page frames."""

from collections import Counter

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosFrame, KlosInfo, KlosProcess, KlosThread
from klosdbg.klos.constants import Frame, State
from klosdbg.klos.find import booted_klos, read_array, read_numbers, read_one, try_read
from klosdbg.klos.models import FrameUse, MemoryUse, ProcessList, ThreadList, ThreadState
from klosdbg.ports import Symbols, Target
from klosdbg.x86.cpu import Cpu

_FRAME_NAMES = {
    Frame.FREE: "free",
    Frame.RESERVED: "reserved: not RAM, or the BIOS's",
    Frame.IMAGE: "the image",
    Frame.OS: "the OS",
    Frame.SHARED: "shared regions",
}


def read_processes(target: Target, symbols: Symbols | None, everything: bool) -> ProcessList:
    """Read the process table; ``everything`` keeps processes that have ended."""
    info = booted_klos(target, symbols).info
    processes = read_array(target, info.processes, KlosProcess, "processes")
    left_out = (State.FREE,) if everything else (State.FREE, State.ENDED)
    shown = tuple(p for p in processes if p.state not in left_out)
    return ProcessList(shown, info.current_pid)


def read_threads(target: Target, symbols: Symbols | None) -> ThreadList:
    """Read the threads, and where each stands: from its saved context, or from the processor."""
    info = booted_klos(target, symbols).info
    cpu = target.registers.read()
    names = {p.pid: p.name for p in try_read(target, info.processes, KlosProcess, "processes")}
    size = info.threads.entry_size
    threads = [
        _thread_state(target, cpu, info, thread, info.threads.address + i * size, names)
        for i, thread in enumerate(read_array(target, info.threads, KlosThread, "threads"))
        if thread.state not in (State.FREE, State.ENDED)
    ]
    return ThreadList(tuple(threads))


def _thread_state(
    target: Target,
    cpu: Cpu,
    info: KlosInfo,
    thread: KlosThread,
    address: int,
    names: dict[int, str],
) -> ThreadState:
    current = address == info.current_thread
    frame = None if current else _context(target, thread)
    place: tuple[int | None, int | None] = (None, None)
    if frame is not None:
        place = (frame.eip, frame.esp)
    elif current and not info.event_depth:
        place = (cpu.eip, cpu.gpr["esp"])
    return ThreadState(thread, names.get(thread.pid, "?"), current, *place, frame)


def _context(target: Target, thread: KlosThread) -> KlosFrame | None:
    try:
        return read_one(target, thread.context, KlosFrame) if thread.context else None
    except KlosdbgError:
        return None


def read_frames(target: Target, symbols: Symbols | None) -> MemoryUse:
    """Count the page frames of each owner, in the order of the header, then by pid."""
    info = booted_klos(target, symbols).info
    counted = Counter(read_numbers(target, info.frames, 2, "frames"))
    names = {p.pid: p.name for p in try_read(target, info.processes, KlosProcess, "processes")}
    uses = [FrameUse(_FRAME_NAMES[kind], None, counted.pop(kind, 0)) for kind in Frame]
    uses += [
        FrameUse(names.get(pid, "no such process"), pid, counted[pid]) for pid in sorted(counted)
    ]
    return MemoryUse(tuple(uses), sum(use.frames for use in uses))
