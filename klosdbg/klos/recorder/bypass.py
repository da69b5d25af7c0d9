"""Events of a KLOS that its event core never sees: a task gate's, and gates that lead past it."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

from klosdbg.events.event import Event, MakesEvent
from klosdbg.klos.recorder.facts import KlosFacts, RunningThread
from klosdbg.klos.recorder.stops import KlosStops
from klosdbg.ports import Memory, Target
from klosdbg.recording.discovery import EventPaths, Stub
from klosdbg.recording.plain_stops import PlainStops
from klosdbg.recording.stop_registers import QuickRegisters, Registers


class StopsBesideCore:
    """Follow a KLOS through its event core, and what goes beside it.

    A gate beside the core is followed as on any guest.
    """

    def __init__(
        self,
        memory: Memory,
        target: Target,
        paths: EventPaths,
        registers: QuickRegisters,
        facts: KlosFacts,
        numbers: Iterator[int],
        vectors: Collection[int],
    ) -> None:
        self._memory = memory
        self._facts = facts
        self._core = KlosStops(memory, paths, facts, numbers, vectors)
        chosen = {v: s for v, s in paths.stubs.items() if not vectors or v in vectors}
        past = {v: s for v, s in chosen.items() if not _leaves(s)}
        plain = EventPaths(past, None)
        self._past = PlainStops(memory, target, plain, registers, numbers) if past else None

    @property
    def wanted(self) -> frozenset[int]:
        """The linear addresses to stop at next."""
        return self._core.wanted | self._past.wanted if self._past else self._core.wanted

    def guesses(self) -> list[tuple[int, int]]:
        """Say what memory the next stop will probably want, as ``(address, size)``."""
        return self._core.guesses()

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop at one of the wanted places; return what makes the events that it ends."""
        if self._past is not None and registers.pc in self._past.wanted:
            running = self._running()
            return [partial(self._told, make, running) for make in self._past.at(registers)]
        return self._core.at(registers)

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way, as having never come back."""
        return self._core.drop() + (self._past.drop() if self._past else [])

    def _running(self) -> RunningThread:
        return self._facts.running(*self._memory.read_many(self._facts.running_requests()))

    def _told(self, make: MakesEvent, running: RunningThread) -> Event:
        event, pid, tid = make(), running.pid, running.tid
        name = self._facts.process(pid)
        resumed = event.resumed and replace(event.resumed, process=name, pid=pid, tid=tid)
        depth = running.depth + event.depth
        return replace(event, depth=depth, process=name, pid=pid, tid=tid, resumed=resumed)


def _leaves(stub: Stub) -> bool:
    return any(e.kind == "lret" for e in stub.exits)
