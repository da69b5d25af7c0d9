"""What applications reach: no OS structure below DSAPP's limit, none aliased, no selector there."""

from collections.abc import Iterator
from dataclasses import replace

from klosdbg.klos.abi import KlosProcess
from klosdbg.klos.audit.facts import CHANCE, AuditFacts
from klosdbg.klos.constants import Process, State
from klosdbg.paged import MappedPage, PageTables
from klosdbg.ports import Memory
from klosdbg.x86.findings import Finding
from klosdbg.x86.paging import PAGE, Paging, paging_of

_WORD = 4
_SITE_PAGES = "prologue"
_Frames = dict[int, str]


def check_places(facts: AuditFacts) -> Iterator[Finding]:
    """Check that tables, TSS, bitmap and prologues lie above DSAPP's limit."""
    for name, address, _ in _structures(facts):
        if address < facts.info.app_top:
            text = f"DSAPP ends at {facts.info.app_top - 1:#010x}: applications reach it"
            yield Finding("below-limit", "error", f"{name} at {address:#010x}", text)


def _structures(facts: AuditFacts) -> Iterator[tuple[str, int, int]]:
    """Yield name, linear address and size of what no application may reach."""
    info = facts.info
    for slots in facts.tables:
        yield slots.table.upper(), slots.base, slots.limit + 1
    yield "IDT", facts.cpu.idtr.base, facts.cpu.idtr.limit + 1
    yield "TSS", info.tss, info.tss_limit + 1
    yield "I/O bitmap", info.iomap, info.iomap_size
    for site in facts.sites:
        yield f"{_SITE_PAGES} {site.name}", site.immediate, site.width


def check_memory(facts: AuditFacts) -> Iterator[Finding]:
    """Walk every process's application pages: none is an OS structure's, none holds DSOS."""
    paging, physical = paging_of(facts.cpu), facts.target.physical
    if paging is None or physical is None:
        why = f"{facts.target.name} has no physical memory" if paging else "paging is off"
        yield Finding("not-checked", "note", "applications' pages", f"{why}: not looked at")
        return
    tables = PageTables(physical)
    own = _protected(facts, paging, tables)
    pages = list(_application_pages(facts, paging, tables))
    yield from _aliases(pages, own)
    yield from _secrets(facts, physical, pages)


def _protected(facts: AuditFacts, paging: Paging, tables: PageTables) -> _Frames:
    """Map the page frames of OS structures to names."""
    frames: _Frames = {}
    for name, address, size in _structures(facts):
        last = address + size - 1
        for page in tables.pages(paging, address, last):
            frames |= dict.fromkeys(_frames(page, address, last), name)
    for process in facts.processes:
        if process.state != State.FREE:
            frames |= dict.fromkeys(process.iomap_frames, f"I/O bitmap of pid {process.pid}")
    return frames


def _frames(page: MappedPage, first: int, last: int) -> Iterator[int]:
    start = max(page.linear, first) & -PAGE
    for linear in range(start, min(page.linear + page.size - 1, last) + 1, PAGE):
        yield page.physical + linear - page.linear


def _application_pages(
    facts: AuditFacts, paging: Paging, tables: PageTables
) -> Iterator[tuple[KlosProcess, MappedPage]]:
    for process in facts.processes:
        system = process.flags & Process.SYSTEM
        if process.state in (State.FREE, State.ENDED) or not process.cr3 or system:
            continue
        own = replace(paging, cr3=process.cr3)
        for page in tables.pages(own, 0, facts.info.app_top - 1):
            if page.user:
                yield process, page


def _aliases(pages: list[tuple[KlosProcess, MappedPage]], own: _Frames) -> Iterator[Finding]:
    for process, page in pages:
        inside = (own[f] for f in own if page.physical <= f < page.physical + page.size)
        name = own.get(page.physical) if page.size == PAGE else next(inside, None)
        if name:
            where = f"pid {process.pid}, page {page.linear:#010x}"
            text = f"maps frame {page.physical:#010x}, which is the OS's: {name}"
            yield Finding("aliased", "error", where, text)


def _secrets(
    facts: AuditFacts, physical: Memory, pages: list[tuple[KlosProcess, MappedPage]]
) -> Iterator[Finding]:
    seen = {page.physical: (process, page) for process, page in pages if page.writable}
    read = physical.read_many([(at, page.size) for at, (_, page) in seen.items()])
    needle = facts.info.dsos.to_bytes(_WORD, "little")
    if facts.target.left_out and None in read:
        text = f"{read.count(None)} of {len(read)} are not searched: {facts.target.left_out}"
        yield Finding("not-checked", "note", "applications' pages", text)
    for (process, page), raw in zip(seen.values(), read, strict=True):
        for at in _occurrences(raw or b"", needle):
            where = f"pid {process.pid}, {page.linear + at:#010x}"
            text = f"a word in an application's memory is {facts.info.dsos:#06x}, as DSOS is"
            yield Finding("application-memory", "warning", where, f"{text}; {CHANCE}")


def _occurrences(raw: bytes, needle: bytes) -> Iterator[int]:
    at = raw.find(needle)
    while at >= 0:
        if at % _WORD == 0:
            yield at
        at = raw.find(needle, at + 1)
