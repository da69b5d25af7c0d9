"""A line at each stop of gdb's: where the guest stands, who runs, in which event, where DSOS is.

klos: ring 3, 001b:c0105f40 <event_timer>, in event 32, ping 2/2, dsos 0x0b9b
"""

from collections.abc import Iterable, Iterator

import gdb

from klosdbg.errors import KlosdbgError
from klosdbg.gdb_entry.gdb_session import HELD
from klosdbg.klos.abi import KlosFrame
from klosdbg.klos.find import find_by_symbol
from klosdbg.klos.layout import members
from klosdbg.klos.recorder.facts import KlosFacts
from klosdbg.read import read_cpu
from klosdbg.session import Session
from klosdbg.views.base import WIDTH
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.vectors import vector_name

_VECTOR = next(m.offset for m in members(KlosFrame) if m.name == "vector")


def register() -> None:
    """Declare the setting, and show the line at each stop that is no command's of klosdbg."""
    for verb, what in (("set", "Change"), ("show", "Show")):
        _Settings(verb, f"{what} how klosdbg behaves inside gdb.")
    gdb.events.stop.connect(_Stops(_Setting()).show)


class _Settings(gdb.Command):  # type: ignore[misc]
    def __init__(self, verb: str, doc: str) -> None:
        self.__doc__ = doc
        super().__init__(f"{verb} klos", gdb.COMMAND_NONE, prefix=True)


class _Setting(gdb.Parameter):  # type: ignore[misc]
    """At each stop one line says: ring, selector:offset, event, process/thread, DSOS."""

    set_doc = "Set whether klosdbg says in a line where the guest stopped."
    show_doc = "Show whether klosdbg says in a line where the guest stopped."

    def __init__(self) -> None:
        super().__init__("klos stop-line", gdb.COMMAND_NONE, gdb.PARAM_BOOLEAN)
        self.value = True

    def get_set_string(self) -> str:
        """Say nothing: the setting is what was asked for."""
        return ""

    def get_show_string(self, value: str) -> str:
        """Say how it is set."""
        return f"klosdbg's line at a stop is {value}."


class _Stops:
    """What shows the line. A connection that cannot say where it stands is not asked again."""

    def __init__(self, setting: _Setting) -> None:
        self._setting = setting
        self._silent: set[object] = set()
        self._facts: dict[object, KlosFacts] = {}

    def show(self, _event: gdb.StopEvent) -> None:
        """Print the line, or nothing: whatever is wrong is for a command to say."""
        guest = HELD.guest()
        if HELD.busy or not self._setting.value or guest in self._silent:
            return
        try:
            session = HELD.session()
            cpu = read_cpu(session.target)
        except KlosdbgError:
            self._silent.add(guest)
            return
        gdb.write(f"{stop_line(cpu, session.symbol(cpu.linear_pc), self._who(session, cpu))}\n")

    def _who(self, session: Session, cpu: Cpu) -> tuple[str, ...]:
        if cpu.real_addressing or cpu.paging == "off":
            return ()
        guest = HELD.guest()
        try:
            if guest not in self._facts:
                # Without the symbol all memory would be searched.
                if find_by_symbol(session.target, session.symbols) is None:
                    return ()
                self._facts[guest] = KlosFacts(session.target, session.symbols)
            return tuple(_of_klos(session, self._facts[guest], cpu))
        except KlosdbgError:
            return ()


def _of_klos(session: Session, facts: KlosFacts, cpu: Cpu) -> Iterator[str]:
    memory = session.target.linear
    places = [*facts.running_requests(), facts.esp0_at, (facts.offset("dsos"), 2)]
    depth, thread, esp0, dsos = memory.read_many(places)
    running = facts.running(depth, thread)
    begins = facts.vector_at(cpu.linear_pc)
    if begins is not None:
        yield f"at event {_named(begins)}"
    elif running.depth and esp0:
        raw = memory.read(int.from_bytes(esp0, "little") + _VECTOR, 4)
        yield f"in event {_named(int.from_bytes(raw, 'little'))}"
    yield f"{facts.process(running.pid)} {running.pid}/{running.tid}" if running.tid else "idle"
    if dsos:
        yield f"dsos {int.from_bytes(dsos, 'little'):#06x}"


def _named(vector: int) -> str:
    name = vector_name(vector)
    return f"{vector} {name}" if name else f"{vector}"


def stop_line(cpu: Cpu, symbol: str | None, who: Iterable[str]) -> str:
    """Make the line: what does not fit into 80 columns is left out, the symbol first."""
    place = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
    if cpu.linear_pc != cpu.eip:
        place += f" (linear {cpu.linear_pc:#010x})"
    rest = list(who)
    while rest and len(_joined(cpu, place, rest)) > WIDTH:
        rest.pop()
    named = _joined(cpu, f"{place} <{symbol}>", rest)
    return named if symbol and len(named) <= WIDTH else _joined(cpu, place, rest)


def _joined(cpu: Cpu, place: str, rest: Iterable[str]) -> str:
    return f"klos: {', '.join((f'ring {cpu.cpl}', place, *rest))}"
