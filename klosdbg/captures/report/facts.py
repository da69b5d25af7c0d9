"""What a report shows, gathered out of an opened capture."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from klosdbg.captures.difference import compare
from klosdbg.captures.models import Difference
from klosdbg.captures.opened import Opened, Snapshot, snapshot_target
from klosdbg.errors import KlosdbgError
from klosdbg.events.event import Event
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_cpu, read_gdt, read_iomap, read_ldt
from klosdbg.system import System
from klosdbg.wire.bundle import Line, Manifest
from klosdbg.x86.iobitmap import IoBitmap
from klosdbg.x86.table import Table

_MOST_COMPARED = 20
_MOST_CONSOLE = 16 << 10


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """A snapshot as a report lists it."""

    number: int
    why: str
    seconds: float
    cs: int
    eip: int
    symbol: str | None


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything that a report shows; tables and I/O map are those of the last snapshot."""

    name: str
    manifest: Manifest
    events: tuple[Event, ...]
    relocations: tuple[Line, ...]
    notes: tuple[Line, ...]
    moments: tuple[ListedSnapshot, ...]
    tables: tuple[Table, ...]
    iomap: IoBitmap | None
    differences: tuple[Difference, ...]
    console: str
    damage: str

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How often each vector occurred, the most frequent first."""
        names = Counter(e.name or f"vector {e.vector}" for e in self.events)
        return names.most_common()


def gather(
    opened: Opened, symbols: Symbols | None, system_of: Callable[[Target], System]
) -> ReportFacts:
    """Read what a report shows; what cannot be read is left out."""
    snapshots = list(_readable(opened))
    last = snapshots[-1] if snapshots else None
    target = snapshot_target(last, opened.name) if last else None
    return ReportFacts(
        name=opened.name,
        manifest=opened.manifest,
        events=tuple(opened.events),
        relocations=tuple(opened.relocations),
        notes=tuple(opened.notes),
        moments=tuple(_moment(s, symbols) for s in snapshots),
        tables=tuple(_tables(target, system_of(target))) if target else (),
        iomap=_iomap(target) if target else None,
        differences=tuple(_differences(opened, snapshots, system_of)),
        console=opened.bundle.console[-_MOST_CONSOLE:].decode("utf-8", "replace"),
        damage=opened.bundle.damage_line(),
    )


def _readable(opened: Opened) -> Iterator[Snapshot]:
    for number in opened.snapshots:
        try:
            yield opened.snapshots[number]
        except KlosdbgError:
            continue


def _moment(snapshot: Snapshot, symbols: Symbols | None) -> ListedSnapshot:
    cpu = snapshot.cpu
    symbol = symbols.name(cpu.linear_pc) if symbols else None
    cs = cpu.segments["cs"].selector
    return ListedSnapshot(snapshot.number, snapshot.why, snapshot.seconds, cs, cpu.eip, symbol)


def _tables(target: Target, system: System) -> Iterator[Table]:
    for read, kind in ((read_gdt, "gdt"), (read_ldt, "ldt")):
        try:
            yield read(target, system.slot_names(kind))
        except KlosdbgError:
            continue


def _iomap(target: Target) -> IoBitmap | None:
    try:
        return read_iomap(target) if read_cpu(target).cr0 & 1 else None
    except KlosdbgError:
        return None


def _differences(
    opened: Opened, snapshots: list[Snapshot], system_of: Callable[[Target], System]
) -> Iterator[Difference]:
    chosen = snapshots[-_MOST_COMPARED:]
    for before, after in itertools.pairwise(chosen):
        sides = [
            (f"snapshot {s.number} ({s.why})", snapshot_target(s, opened.name))
            for s in (before, after)
        ]
        yield compare(sides[0], sides[1], system_of)
