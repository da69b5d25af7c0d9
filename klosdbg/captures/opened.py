"""What an opened capture says: its events, relocations, notes and snapshots."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from klosdbg.errors import DataError
from klosdbg.events.document import event_of
from klosdbg.events.event import Event
from klosdbg.ports import Memory, Target
from klosdbg.wire.bundle import EVENTS, NOTES, RELOCATIONS, Line, Manifest
from klosdbg.wire.bundle import Snapshot as Snapshot
from klosdbg.wire.stored import StoredMemory
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import cut_at_pages, paging_of, walk_all

if TYPE_CHECKING:
    from klosdbg.wire.bundle_read import Bundle

_VECTORS = 256
_LEFT_OUT = "the snapshot does not hold it"
_REDACTED = " (--redact)"


class Snapshots(Mapping[int, Snapshot]):
    """The snapshots of a capture by number, each read when it is first asked for."""

    def __init__(self, bundle: "Bundle") -> None:
        self._bundle = bundle
        self._heads = {int(head["number"]): head for head in bundle.heads}
        self._read: dict[int, Snapshot] = {}

    def head(self, number: int) -> Line:
        """Give what is said of a snapshot, which may be damaged itself."""
        return self._heads[number]

    def __getitem__(self, number: int) -> Snapshot:
        if number not in self._read:
            self._read[number] = self._bundle.snapshot(self._heads[number])
        return self._read[number]

    def __contains__(self, number: object) -> bool:
        return number in self._heads

    def __iter__(self) -> Iterator[int]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)


@dataclass(frozen=True)
class Opened:
    """An opened capture under the name that the user gave."""

    name: str
    bundle: "Bundle"

    @property
    def manifest(self) -> Manifest:
        """What was recorded, with what, and when."""
        return self.bundle.manifest

    @cached_property
    def snapshots(self) -> Snapshots:
        """The snapshots by number."""
        return Snapshots(self.bundle)

    @cached_property
    def events(self) -> list[Event]:
        """The events in order, recording by recording; those left out that are damaged."""
        return sorted(self._events(), key=lambda event: (event.recording, event.seq))

    def _events(self) -> Iterator[Event]:
        for number, line in enumerate(self.bundle.lines(EVENTS), 1):
            try:
                yield _sound(event_of(line))
            except DataError as error:
                self.bundle.damage.append(f"{EVENTS}: event {number}: {error}")

    @cached_property
    def relocations(self) -> list[Line]:
        """The relocations, as recorded."""
        return list(self.bundle.lines(RELOCATIONS))

    @cached_property
    def notes(self) -> list[Line]:
        """Notes, marks and expectations."""
        return list(self.bundle.lines(NOTES))


def _sound(event: Event) -> Event:
    if not 0 <= event.vector < _VECTORS:
        raise DataError(f"there is no vector {event.vector}")
    for number in (event.seq, event.recording):
        if number < 0:
            raise DataError(f"no event has the number {number}")
    return event


def snapshot_target(
    snapshot: Snapshot,
    name: str,
    read_console: Callable[[], bytes] | None = None,
    redacted: bool = False,
) -> Target:
    """Make a target of a snapshot. It cannot run, and nothing in it can be written."""
    left_out = _LEFT_OUT + (_REDACTED if redacted else "")
    physical = StoredMemory("physical", snapshot.physical, lambda _at, _size: left_out)

    def why(address: int, size: int) -> str:
        return "" if _unmapped(snapshot.cpu, physical, address, size) else left_out

    return Target(
        name=f"{name}, snapshot {snapshot.number}",
        registers=HeldRegisters(snapshot.cpu),
        linear=StoredMemory("linear", snapshot.linear, why),
        physical=physical,
        left_out=left_out,
        read_console=read_console,
        address_bits=64 if "rsp" in snapshot.cpu.gpr else 32,
    )


def _unmapped(cpu: Cpu, physical: Memory, address: int, size: int) -> bool:
    """Tell whether the page tables, which were stored, leave a page of a range unmapped."""
    paging = paging_of(cpu)
    if paging is None:
        return False
    walks = walk_all(physical.read_many, (at for at, _ in cut_at_pages(address, size)), paging)
    return any(found.why is not None and found.unreadable is None for found in walks.values())


@dataclass(frozen=True, slots=True)
class HeldRegisters:
    """Registers that were read once."""

    cpu: Cpu

    def read(self) -> Cpu:
        """Give them."""
        return self.cpu
