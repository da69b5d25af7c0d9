"""Looking for gadgets in every page that ring 3 can execute above DSAPP's limit.

CSOS spans 4 GiB, and pages have no execute right of their own: data is code as well.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosInfo, KlosSite
from klosdbg.klos.constants import Frame
from klosdbg.klos.find import booted_klos, read_array, read_numbers
from klosdbg.klos.gadgets.flow import escape, loaded_register
from klosdbg.klos.gadgets.models import Gadget, Gadgets
from klosdbg.paged import MappedPage, PageTables
from klosdbg.ports import Symbols, Target
from klosdbg.x86.disasm import Instruction, disassemble
from klosdbg.x86.paging import PAGE, paging_of

_TOP = 0xFFFF_FFFF
_LONGEST = 15
_FOLLOWED = 16
_BEFORE = 6
_SHOWN = 4
_COMMIT = "commits with the caller's EAX: from OS code that is a request to the event core"
_GATE = "calls the event-return gate, which refuses it while no event is handled"
_MIDDLE = "runs {name} with the selector in the caller's EAX instead of DSOS"
_STEPPED = (
    "DSOS is in {register} when a fault or a single step comes, and this is no OS code: "
    "a system that delivers it to an application's handler hands DSOS out"
)


@dataclass(frozen=True, slots=True)
class _Region:
    """Adjacent pages: a linear address and their bytes."""

    address: int
    raw: bytes

    def instructions(self, address: int, count: int) -> list[Instruction]:
        start = address - self.address
        return disassemble(self.raw[start : start + _LONGEST * count], address, 32, count)


def find_gadgets(target: Target, symbols: Symbols | None, every: bool) -> Gadgets:
    """Search the OS's executable pages; ``every`` is for the view, which shortens long lists."""
    info = booted_klos(target, symbols).info
    pages = _pages(target, info)
    regions = list(_joined([(page, raw) for page, raw in pages if raw]))
    found = [gadget for region in regions for gadget in _in_region(region, info)]
    found += _middles(target, info, regions)
    unique = {(gadget.address, gadget.kind): gadget for gadget in found}
    missing = sum(page.size for page, raw in pages if not raw)
    return Gadgets(tuple(unique.values()), sum(len(r.raw) for r in regions), missing, every)


def _pages(target: Target, info: KlosInfo) -> list[tuple[MappedPage, bytes | None]]:
    paging = paging_of(target.registers.read())
    if target.physical is None or paging is None:
        raise CommandError("executable pages are found by page tables: there are none to read here")
    tables = PageTables(target.physical)
    pages = [p for p in tables.pages(paging, info.app_top, _TOP) if p.user]
    used = _used_frames(target, info)
    wanted = [p for p in pages if used is None or p.physical // PAGE in used]
    raws = target.physical.read_many([(p.physical, p.size) for p in wanted])
    return list(zip(wanted, raws, strict=True))


def _used_frames(target: Target, info: KlosInfo) -> set[int] | None:
    """Give the page frames that hold something of the OS's; None where KLOS does not say."""
    if not info.frames.count:
        return None
    owners = read_numbers(target, info.frames, 2, "frames")
    return {n for n, owner in enumerate(owners) if owner in (Frame.IMAGE, Frame.OS)}


def _joined(pages: list[tuple[MappedPage, bytes]]) -> Iterator[_Region]:
    run: list[bytes] = []
    start = 0
    for page, raw in pages:
        if run and page.linear != start + sum(map(len, run)):
            yield _Region(start, b"".join(run))
            run = []
        start = start if run else page.linear
        run.append(raw)
    if run:
        yield _Region(start, b"".join(run))


def _in_region(region: _Region, info: KlosInfo) -> Iterator[Gadget]:
    for at in _occurrences(region.raw, info.dsos.to_bytes(2, "little")):
        yield from _loads(region, region.address + at, info)
    text = range(info.os_text_start, info.os_text_end)
    gate = b"\x9a" + b"." * 4 + re.escape(info.gate_selector.to_bytes(2, "little"))
    commit = re.escape(bytes([0xCD, info.commit_vector & 0xFF]))
    for pattern, kind, why in ((commit, "commit", _COMMIT), (gate, "gate", _GATE)):
        for found in re.finditer(pattern, region.raw, re.DOTALL):
            address = region.address + found.start()
            if address in text:
                code = tuple(region.instructions(address, 1))
                yield Gadget(address, "gate" if kind == "gate" else "commit", code, why)


def _occurrences(raw: bytes, needle: bytes) -> Iterator[int]:
    at = raw.find(needle)
    while at >= 0:
        yield at
        at = raw.find(needle, at + 1)


def _loads(region: _Region, place: int, info: KlosInfo) -> Iterator[Gadget]:
    """Try every instruction that could begin before an occurrence of the selector."""
    for start in range(max(place - _BEFORE, region.address), place):
        first = region.instructions(start, 1)[0]
        register = loaded_register(first, info.dsos)
        inside = start < place and place + 2 <= start + first.size
        if register is None or not inside:
            continue
        code = region.instructions(start + first.size, _FOLLOWED)
        taken, why = escape(code, register, info.app_top)
        if why:
            yield Gadget(start, "leak", (first, *code[:taken]), why)
        elif not info.os_text_start <= start < info.os_text_end:
            stepped = _STEPPED.format(register=register.upper())
            yield Gadget(start, "exception", (first, *code[:1]), stepped)


def _middles(target: Target, info: KlosInfo, regions: list[_Region]) -> Iterator[Gadget]:
    """Yield the instruction behind each prologue's load."""
    for site in read_array(target, info.sites, KlosSite, "sites"):
        address = site.immediate + site.width
        inside = (r for r in regions if r.address <= address < r.address + len(r.raw))
        region = next(inside, None)
        if site.start and region:
            code = tuple(region.instructions(address, _SHOWN))
            yield Gadget(address, "middle", code, _MIDDLE.format(name=site.name))
