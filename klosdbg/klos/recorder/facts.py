"""What both recorders need to know of a running KLOS: addresses, processes, kinds of events."""

import struct
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

from klosdbg.events.event import Back, Origin, Place
from klosdbg.klos.abi import KlosInfo, KlosName, KlosProcess
from klosdbg.klos.constants import IRQS
from klosdbg.klos.constants import Origin as KlosOrigin
from klosdbg.klos.find import booted_klos, read_numbers, try_read
from klosdbg.klos.layout import decode, members, size_of
from klosdbg.ports import Memory, Symbols, Target
from klosdbg.recording.os_memory import pinned_memory
from klosdbg.x86.vectors import PUSH_ERROR_CODE

ORIGINS: Mapping[int, Origin] = {
    KlosOrigin.RING3: "program",
    KlosOrigin.IDLE: "idle",
    KlosOrigin.GATE: "gate",
}
_OFFSETS = {m.name: m.offset for m in members(KlosInfo)}
_RUNNING = struct.Struct("<III")
_IDS = struct.Struct("<II")
_TSS_ESP0 = 4
_MOST_SYMBOLS = 4096


class RunningThread(NamedTuple):
    """Who runs: event depth, and process and thread, 0 while the processor idles.

    ``thread`` is the linear address of the thread's record.
    """

    depth: int
    pid: int
    tid: int
    thread: int = 0


class KlosFacts:
    """A booted KLOS. ``CommandError`` where there is none, or one of another version."""

    def __init__(
        self, target: Target, symbols: Symbols | None, at_stop: Memory | None = None
    ) -> None:
        klos = booted_klos(target, symbols)
        self.address = klos.address
        self.info = klos.info
        self._target = target
        self._at_stop = at_stop or target.linear_at_stop or target.linear
        self._last_thread = 0
        self._symbol = lru_cache(_MOST_SYMBOLS)(symbols.name) if symbols else None
        self._names: dict[int, str | None] = {}
        self._stubs = read_numbers(target, self.info.stubs, 4, "stubs")
        self._running_at = self.offset("event_depth"), _RUNNING.size
        self.esp0_at = self.info.tss + _TSS_ESP0, 4
        """Where TSS.ESP0 is, as ``(address, size)``."""

    def offset(self, field: str) -> int:
        """Give the linear address of a field of ``klos_info``."""
        return self.address + _OFFSETS[field]

    def symbol(self, address: int) -> str | None:
        """Name a linear address."""
        return self._symbol(address) if self._symbol else None

    def process(self, pid: int) -> str | None:
        """Name a process; pids are never used twice, so what was read once stays true."""
        if pid and pid not in self._names:
            self._names[pid] = self._logged_name(pid) or self._listed_name(pid)
        return self._names.get(pid)

    def forget_names(self) -> None:
        """Look processes up anew: the guest was reset, and its pids begin again."""
        self._names.clear()

    def _logged_name(self, pid: int) -> str | None:
        """Look where the guest keeps names, also of processes that have gone meanwhile."""
        names = self.info.names
        if not names.count or names.entry_size < size_of(KlosName):
            return None
        raw = self.fixed.read(
            names.address + pid % names.count * names.entry_size, names.entry_size
        )
        entry = decode(KlosName, raw)
        return entry.name if entry.pid == pid else None

    def _listed_name(self, pid: int) -> str | None:
        found = try_read(self._target, self.info.processes, KlosProcess, "processes")
        return next((process.name for process in found if process.pid == pid), None)

    @cached_property
    def fixed(self) -> Memory:
        """The OS's own memory, to be read as often as one likes."""
        return pinned_memory(self._target)

    def running_requests(self) -> list[tuple[int, int]]:
        """List what ``running`` wants to be read, as ``(address, size)``."""
        thread = self._last_thread or self.address
        return [self._running_at, (thread, _IDS.size)]

    def running(self, raw: bytes | None, ids: bytes | None) -> RunningThread:
        """Tell who runs from what ``running_requests`` read."""
        if raw is None:
            return RunningThread(0, 0, 0)
        depth, thread, _pid = _RUNNING.unpack(raw)
        if not thread:
            return RunningThread(depth, 0, 0)
        if thread != self._last_thread or ids is None:
            ids = self._at_stop.read_many([(thread, _IDS.size)])[0]
            self._last_thread = thread
        tid, pid = (0, 0) if ids is None else _IDS.unpack(ids)
        return RunningThread(depth, pid, tid, thread)

    def still_running(self, raw: bytes, before: RunningThread) -> RunningThread:
        """Tell who runs, of the first of them, where only the core and its handlers ran since.

        A thread's record is not used again meanwhile.
        """
        depth, thread, pid = _RUNNING.unpack(raw)
        if thread == before.thread and pid == before.pid:
            return RunningThread(depth, pid, before.tid, thread)
        return self.running(raw, None)

    def source(self, origin: Origin, cs: int, eip: int, ss: int, esp: int) -> Place:
        """Say where an event hit; in the idle loop there is nothing that was pushed."""
        if origin == "idle":
            core = self.info.core_code
            return Place(core, eip, eip, 0, None, None, self.symbol(eip))
        return self.place(cs, eip, ss, esp)

    def place(self, cs: int, eip: int, ss: int | None, esp: int | None) -> Place:
        """Say where a program stands: code segments of KLOS have base 0."""
        return Place(cs, eip, eip, cs & 3, ss, esp, self.symbol(eip))

    def resumed_at(
        self, idle: bool, cs: int, eip: int, ss: int | None = None, esp: int | None = None
    ) -> Place:
        """Say where an event ends: where the frame says, or in the idle loop."""
        if idle:
            return self.source("idle", 0, self.info.idle_site, 0, 0)
        return self.place(cs, eip, ss, esp)

    def stub(self, vector: int) -> int | None:
        """Give the linear address of a vector's ring-0 stub."""
        return self._stubs[vector] if vector < len(self._stubs) else None

    def vector_at(self, address: int) -> int | None:
        """Tell whose stub begins at a linear address."""
        return self._stubs.index(address) if address in self._stubs else None

    def back(self) -> Back:
        """Describe the way back: every handler of KLOS ends with the call gate."""
        return Back("call-gate", self.info.gate_selector, self.info.return_gate)


def error_code_of(vector: int, pushed: int) -> int | None:
    """Give the error code that a vector pushed; None where it pushes none."""
    return pushed if vector in PUSH_ERROR_CODE else None


def ends_interrupt(info: KlosInfo, vector: int) -> bool:
    """Tell whether the event core sends an end of interrupt for a vector."""
    return info.irq_vector <= vector < info.irq_vector + IRQS
