"""Tables of ``info os`` that KLOS keeps in memory: events and relocations."""

from collections.abc import Iterable, Mapping

from klosdbg.klos.abi import KlosArray, KlosEvent, KlosRelocation
from klosdbg.klos.find import booted_klos, read_array
from klosdbg.session import Session

Row = Mapping[str, object]


def read_events(session: Session) -> Iterable[Row]:
    """List the events in KLOS's ring, oldest first."""
    info = booted_klos(session.target, session.symbols).info
    events = read_array(session.target, info.events, KlosEvent, "events")
    for event in sorted((e for e in events if e.seq), key=lambda e: e.seq):
        yield {
            "seq": event.seq,
            "vector": event.vector,
            "error_code": f"{event.error_code:#x}",
            "from": f"{event.cs:04x}:{event.eip:08x}",
            "handler": _place(session, event.handler),
            "resumed": _place(session, event.resumed_eip),
            "pid": event.pid,
            "tid": event.tid,
            "depth": event.depth,
        }


def read_relocations(session: Session) -> Iterable[Row]:
    """List KLOS's log of relocations, oldest first."""
    info = booted_klos(session.target, session.symbols).info
    log: KlosArray = info.relocation_log
    relocations = read_array(session.target, log, KlosRelocation, "relocation_log")
    for moved in sorted((r for r in relocations if r.seq), key=lambda r: r.seq):
        yield {
            "seq": moved.seq,
            "old": f"{moved.old_selector:#06x}",
            "new": f"{moved.new_selector:#06x}",
            "cause": moved.cause,
            "sites": moved.sites,
            "np_faults": moved.np_faults,
            "pid": moved.pid,
            "at": _place(session, moved.eip),
        }


def _place(session: Session, address: int) -> str:
    name = session.symbol(address)
    return f"{address:#010x} {name}" if name else f"{address:#010x}"


TABLES = {"events": read_events, "relocations": read_relocations}
