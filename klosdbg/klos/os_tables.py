"""Tables of ``info os`` that KLOS keeps in memory: events and relocations."""

from collections.abc import Iterable, Mapping

from klosdbg.klos.abi import KlosArray, KlosEvent, KlosRelocation
from klosdbg.klos.find import booted_klos, read_array
from klosdbg.ports import Symbols, Target

Row = Mapping[str, object]


def read_events(target: Target, symbols: Symbols | None) -> Iterable[Row]:
    """List the events in KLOS's ring, oldest first."""
    info = booted_klos(target, symbols).info
    events = read_array(target, info.events, KlosEvent, "events")
    for event in sorted((e for e in events if e.seq), key=lambda e: e.seq):
        yield {
            "seq": event.seq,
            "vector": event.vector,
            "error_code": f"{event.error_code:#x}",
            "from": f"{event.cs:04x}:{event.eip:08x}",
            "handler": _place(symbols, event.handler),
            "resumed": _place(symbols, event.resumed_eip),
            "pid": event.pid,
            "tid": event.tid,
            "depth": event.depth,
        }


def read_relocations(target: Target, symbols: Symbols | None) -> Iterable[Row]:
    """List KLOS's log of relocations, oldest first."""
    info = booted_klos(target, symbols).info
    log: KlosArray = info.relocation_log
    relocations = read_array(target, log, KlosRelocation, "relocation_log")
    for moved in sorted((r for r in relocations if r.seq), key=lambda r: r.seq):
        yield {
            "seq": moved.seq,
            "old": f"{moved.old_selector:#06x}",
            "new": f"{moved.new_selector:#06x}",
            "cause": moved.cause,
            "sites": moved.sites,
            "np_faults": moved.np_faults,
            "pid": moved.pid,
            "at": _place(symbols, moved.eip),
        }


def _place(symbols: Symbols | None, address: int) -> str:
    name = symbols.name(address) if symbols else None
    return f"{address:#010x} {name}" if name else f"{address:#010x}"
