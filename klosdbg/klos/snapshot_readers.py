"""What a snapshot has to hold of KLOS, so that every command that reads KLOS can read it there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from klosdbg.klos.abi import KlosArray, KlosInfo, KlosMailbox, KlosProcess
from klosdbg.klos.find import SYMBOL, read_array
from klosdbg.klos.layout import members, size_of
from klosdbg.klos.models import Klos
from klosdbg.klos.outcomes import read_outcomes
from klosdbg.klos.processes import read_frames, read_processes, read_threads
from klosdbg.klos.system import read_handlers, read_klos, read_services
from klosdbg.ports import Memory, Symbols, Target
from klosdbg.read import read_pages
from klosdbg.x86.paging import PAGE

_MOST_ARRAY = 1 << 20
_MOST_TEXT = 1 << 20

Reader = Callable[[], object]


@dataclass(frozen=True, slots=True)
class KnownKlos:
    """Symbols that know where ``klos_info`` is, so that nobody searches for it again."""

    at: int
    others: Symbols | None

    def address(self, name: str) -> int | None:
        """Look a symbol up."""
        if name == SYMBOL:
            return self.at
        return self.others.address(name) if self.others else None

    def name(self, address: int) -> str | None:
        """Name an address."""
        return self.others.name(address) if self.others else None

    def names(self) -> list[str]:
        """List every symbol."""
        return self.others.names() if self.others else [SYMBOL]

    def frame(self, pc: int) -> tuple[str, int] | None:
        """Say where the caller's frame is."""
        return self.others.frame(pc) if self.others else None


def snapshot_readers(
    target: Target, symbols: Symbols, klos: Klos, with_code: bool
) -> Iterator[Reader]:
    """Yield what reads KLOS's structures through ``target``; ``with_code`` its code as well."""
    yield lambda: read_klos(target, symbols)
    if klos.booted:
        yield from _of_booted(target, symbols, klos.info)
    if with_code:
        yield lambda: _read_text(target.linear, klos.info)


def _of_booted(target: Target, symbols: Symbols, info: KlosInfo) -> Iterator[Reader]:
    yield lambda: read_processes(target, symbols, True)
    yield lambda: read_threads(target, symbols)
    yield lambda: read_services(target, symbols)
    yield lambda: read_handlers(target, symbols, True)
    yield lambda: read_frames(target, symbols)
    yield lambda: read_outcomes(target, symbols, "selftest")
    yield lambda: read_pages(target.linear, info.mailbox, size_of(KlosMailbox))
    for array in _arrays(info):
        size = min(array.count * array.entry_size, _MOST_ARRAY)
        yield lambda at=array.address, size=size: read_pages(  # type: ignore[misc]
            target.linear, at, size
        )
    yield lambda: _read_iomaps(target, info)


def _arrays(info: KlosInfo) -> list[KlosArray]:
    return [getattr(info, m.name) for m in members(KlosInfo) if m.nested is KlosArray]


def _read_iomaps(target: Target, info: KlosInfo) -> None:
    if target.physical is None:
        return
    for process in read_array(target, info.processes, KlosProcess, "processes"):
        if process.cr3:
            for frame in process.iomap_frames:
                read_pages(target.physical, frame, PAGE if frame else 0)


def _read_text(memory: Memory, info: KlosInfo) -> None:
    for start, end in (
        (info.core_text_start, info.core_text_end),
        (info.os_text_start, info.os_text_end),
    ):
        read_pages(memory, start, min(max(0, end - start), _MOST_TEXT))
