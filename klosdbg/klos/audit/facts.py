"""What an audit looks at, read once."""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosFrame, KlosInfo, KlosProcess, KlosRelocation, KlosSite, KlosThread
from klosdbg.klos.constants import Origin, State
from klosdbg.klos.find import read_array, read_columns, read_one, try_read
from klosdbg.ports import Target
from klosdbg.read import read_pages
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import PAGE
from klosdbg.x86.selector import Selector

RPL = 3
CHANCE = "a leak, or a number that happens to be the same: one that follows DSOS is a leak"
_ESP0 = 4
_SLOT = 8
_MOST_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Slots:
    """The 8-byte entries of a table that the processor uses; None where memory is not mapped."""

    table: str
    base: int
    limit: int
    raws: tuple[bytes | None, ...]

    def selector(self, index: int) -> int:
        """Make the selector of a slot, with RPL 3."""
        return index << 3 | (4 if self.table == "ldt" else 0) | RPL


@dataclass(frozen=True, slots=True)
class Context:
    """Registers that will be resumed: ``where`` says whose they are."""

    where: str
    frame: KlosFrame


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """A stopped guest. ``old`` maps selectors that DSOS had to the relocation that ended it.

    ``filler`` is what most slots hold.
    """

    target: Target
    cpu: Cpu
    info: KlosInfo
    tables: tuple[Slots, ...]
    filler: bytes
    old: Mapping[int, int]
    contexts: tuple[Context, ...]
    processes: tuple[KlosProcess, ...]
    sites: tuple[KlosSite, ...]

    def in_os_code(self, eip: int) -> bool:
        """Tell OS code and the event core from an application."""
        info = self.info
        return (
            info.os_text_start <= eip < info.os_text_end
            or info.core_text_start <= eip < info.core_text_end
        )

    def raw(self, selector: int) -> bytes | None:
        """Look the slot of a selector up; None where there is none, or it is not mapped."""
        chosen = Selector(selector)
        slots = next(s for s in self.tables if s.table == chosen.table)
        return slots.raws[chosen.index] if chosen.index < len(slots.raws) else None


def read_facts(target: Target, info: KlosInfo) -> AuditFacts:
    """Read what an audit looks at. Arrays that cannot be read are empty: 'klos' reports them."""
    cpu = target.registers.read()
    ldtr = cpu.segments["ldtr"]
    tables = (
        _slots(target, "gdt", cpu.gdtr.base, cpu.gdtr.limit),
        _slots(target, "ldt", ldtr.base, ldtr.limit),
    )
    counted = Counter(tables[0].raws + tables[1].raws)
    return AuditFacts(
        target=target,
        cpu=cpu,
        info=info,
        tables=tables,
        filler=max(filter(None, counted), key=counted.__getitem__, default=bytes(_SLOT)),
        old=old_selectors(target, info),
        contexts=(*_threads(target, info), *_frames(target, info)),
        processes=tuple(try_read(target, info.processes, KlosProcess, "processes")),
        sites=tuple(try_read(target, info.sites, KlosSite, "sites")),
    )


def _slots(target: Target, table: str, base: int, limit: int) -> Slots:
    raws: list[bytes | None] = []
    for address, raw in read_pages(target.linear, base, limit + 1):
        size = min(PAGE - address % PAGE, base + limit + 1 - address)
        count = size // _SLOT
        raws += _struct(count).unpack_from(raw) if raw else [None] * count
    return Slots(table, base, limit, tuple(raws))


@cache
def _struct(slots: int) -> struct.Struct:
    return struct.Struct(f"{_SLOT}s" * slots)


def old_selectors(target: Target, info: KlosInfo) -> dict[int, int]:
    """Map the selectors that DSOS had, as far as the log reaches back, to what ended them."""
    log = info.relocation_log
    try:
        moves = read_columns(target, log, KlosRelocation, "relocation_log", "seq", "old_selector")
    except KlosdbgError:
        moves = []
    old = {selector: seq for seq, selector in sorted(moves) if seq}
    old.pop(info.dsos, None)
    return old


def _threads(target: Target, info: KlosInfo) -> Iterator[Context]:
    """Yield the saved contexts of threads; that of the thread that runs is stale."""
    size = info.threads.entry_size
    for i, thread in enumerate(read_array(target, info.threads, KlosThread, "threads")):
        current = info.threads.address + i * size == info.current_thread
        if current or thread.state in (State.FREE, State.ENDED) or not thread.context:
            continue
        where = f"thread {thread.tid} (pid {thread.pid}), context at {thread.context:#010x}"
        yield Context(where, read_one(target, thread.context, KlosFrame))


def _frames(target: Target, info: KlosInfo) -> Iterator[Context]:
    """Yield the frames of the events that are being handled, the innermost first.

    That of an event that interrupted the idle loop is never resumed.
    """
    if not info.event_depth:
        return
    address = int.from_bytes(target.linear.read(info.tss + _ESP0, 4), "little")
    for depth in range(min(info.event_depth, _MOST_DEPTH), 0, -1):
        frame = read_one(target, address, KlosFrame)
        if frame.origin != Origin.IDLE:
            yield Context(f"ring-0 frame at {address:#010x}, event depth {depth}", frame)
        address = frame.esp0
