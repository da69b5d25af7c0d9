"""The tables of ``info os``: what commands tell, as the XML of GDB's ``osdata`` objects."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from klosdbg.errors import KlosdbgError
from klosdbg.frontend import find_command
from klosdbg.session import Session
from klosdbg.system import Row
from klosdbg.views import data
from klosdbg.views.base import Style

_MOST_ROWS = 1 << 14
_NOT_XML = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True, slots=True)
class OsTable:
    """A table: the command that reads it, the list in its document, and the fields to show."""

    title: str
    command: str
    rows: str
    fields: tuple[str, ...]


_SEGMENTS = ("index", "selector", "kind", "name", "dpl", "base", "limit", "present", "raw")
_GATES = ("index", "kind", "name", "dpl", "target_selector", "offset", "present", "raw")
_TASKS = ("selector", "bits", "ldt", "cr3", "cs", "eip", "back_link", "busy", "current", "symbol")
_PROCESSES = ("pid", "name", "state", "parent", "threads", "frames", "cr3", "faults")
_THREADS = ("tid", "pid", "process", "state", "wait", "ticks", "switches", "eip", "symbol")
_EVENTS = (
    "seq",
    "vector",
    "error_code",
    "source",
    "stub",
    "handler",
    "resumed",
    "depth",
    "process",
)
TABLES = {
    "gdt": OsTable("the GDT", "gdt", "entries", _SEGMENTS),
    "ldt": OsTable("the LDT", "ldt", "entries", _SEGMENTS),
    "idt": OsTable("the IDT", "idt", "entries", _GATES),
    "tasks": OsTable("hardware tasks", "tasks", "tasks", _TASKS),
    "processes": OsTable("KLOS's processes", "ps --all", "processes", _PROCESSES),
    "threads": OsTable("KLOS's threads", "threads", "threads", _THREADS),
}
_NUMBERS_IN_HEX = {"selector", "base", "limit", "target_selector", "offset", "cr3", "eip"}
_NUMBERS_IN_HEX |= {"cs", "ldt", "back_link"}


def osdata(session: Session, name: str) -> bytes:
    """Make the XML of a table, or of the list of tables for an empty name.

    Those of the guest's system are among them that no command shows. Raise ``KlosdbgError`` for
    one that cannot be read.
    """
    system = session.system
    if not name:
        titles = {key: table.title for key, table in TABLES.items()}
        titles |= {key: f"{system.name}'s {key}" for key in system.tables}
        kinds = [{"Type": key, "Description": title} for key, title in titles.items()]
        return _document("types", kinds)
    if name in system.tables:
        return _document(name, system.tables[name]())
    if name not in TABLES:
        raise KlosdbgError(f"there is no table {name!r}: 'info os' lists them")
    return _document(name, _rows(session, TABLES[name]))


def _rows(session: Session, table: OsTable) -> Iterable[Row]:
    chosen, rest = find_command(table.command.split())
    args = chosen.parse(rest)
    assert args is not None
    document = data(chosen.run(session, args), Style(session.symbol))
    rows = document[table.rows]
    assert isinstance(rows, list)
    return [{name: _shown(name, row.get(name)) for name in table.fields} for row in rows]


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:#x}" if isinstance(value, int) and name in _NUMBERS_IN_HEX else str(value)


def _document(name: str, rows: Iterable[Row]) -> bytes:
    items = "".join(map(_item, list(rows)[:_MOST_ROWS]))
    head = '<?xml version="1.0"?><!DOCTYPE target SYSTEM "osdata.dtd">'
    return f"{head}<osdata type={quoteattr(name)}>{items}</osdata>".encode()


def _item(row: Row) -> str:
    columns = (
        f"<column name={quoteattr(key)}>{escape(_NOT_XML.sub('?', str(value)))}</column>"
        for key, value in row.items()
    )
    return f"<item>{''.join(columns)}</item>"
