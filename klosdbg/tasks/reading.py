"""Read the tasks of a guest: every TSS in its GDT, and what each has saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from klosdbg.errors import CommandError
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_pages
from klosdbg.tasks.models import Task, Tasks
from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Segment, SystemSegment, decode_descriptor
from klosdbg.x86.paging import PAGE
from klosdbg.x86.selector import Selector
from klosdbg.x86.tss import MINIMUM_LIMIT, Tss, decode_tss

_SLOT = 8
_ACCESS = 5
_S_AND_TYPE = 0x1F
_TSS_TYPES = (0x1, 0x3, 0x9, 0xB)
_REACHABLE = 0xFFFF
_LINEAR = 0xFFFF_FFFF
_VM = 17


def why_no_task(cpu: Cpu) -> str:
    """Say why a processor is in no task; empty where it is in one."""
    if cpu.mode in ("real", "unreal"):
        return "no tasks: the processor is in real mode, which has none"
    if cpu.long_mode:
        return "no tasks in long mode: its TSS holds stacks and no registers ('tss' shows it)"
    tr = cpu.segments["tr"]
    if not tr.present or Selector(tr.selector).null:
        return "no tasks: TR holds a null selector; nothing has executed LTR yet"
    return ""


def read_tasks(target: Target) -> Tasks:
    """Read every TSS in the GDT; ``CommandError`` where the processor is in no task."""
    cpu = read_cpu(target)
    if why := why_no_task(cpu):
        raise CommandError(why)
    gdt = read_gdt_bytes(target, cpu)
    number, cpus = target.processors() if target.processors else (0, [cpu])
    running = {
        other.segments["tr"].selector & ~3: (i, cpu if i == number else other)
        for i, other in enumerate(cpus)
        if other.gdtr.base == cpu.gdtr.base and not why_no_task(other)
    }
    found = tss_descriptors(gdt)
    tsss = _read_tsss(target.linear, [_place(found[s], running.get(s)) for s in found])
    tasks = [
        Task(selector, descriptor, tss, None, *running.get(selector, (None, None)))
        for (selector, descriptor), tss in zip(found.items(), tsss, strict=True)
    ]
    places = _code_places(gdt, tasks)
    raws = _read_all(target.linear, places.values())
    codes = {selector: raws[place] for selector, place in places.items()}
    placed = (replace(t, code_base=_code_base(gdt, t, codes.get(t.selector))) for t in tasks)
    tr = cpu.segments["tr"].selector
    return Tasks(cpu.gdtr.base, cpu.gdtr.limit, tr, tuple(placed), len(cpus))


def read_gdt_bytes(target: Target, cpu: Cpu) -> bytes:
    """Read the whole GDT; zeros stand where it is not mapped."""
    base, size = cpu.gdtr.base, min(cpu.gdtr.limit, _REACHABLE) + 1
    found = bytearray(size)
    for address, raw in read_pages(target.linear, base, size):
        if raw is not None:
            found[address - base : address - base + len(raw)] = raw
    return bytes(found)


def tss_descriptors(gdt: bytes) -> dict[int, SystemSegment]:
    """Find the TSSs of 16 and 32 bits in a GDT, by selector."""
    places = range(_SLOT, len(gdt) - _SLOT + 1, _SLOT)
    tsss = (at for at in places if gdt[at + _ACCESS] & _S_AND_TYPE in _TSS_TYPES)
    found = ((at, decode_descriptor(gdt[at : at + _SLOT])) for at in tsss)
    return {at: segment for at, segment in found if isinstance(segment, SystemSegment)}


def _place(descriptor: SystemSegment, running: tuple[int, Cpu] | None) -> SystemSegment:
    """Say where a task's TSS is: where the processor that runs it will save it."""
    hidden = running[1].segments["tr"].descriptor if running else descriptor
    return hidden if isinstance(hidden, SystemSegment) and hidden.bits else descriptor


def _read_tsss(memory: Memory, segments: Sequence[SystemSegment]) -> list[Tss]:
    """Read the fields of each in one round trip, as far as they are mapped."""
    spans = [_pages(s.base, min(s.last_byte, MINIMUM_LIMIT[s.bits]) + 1) for s in segments]
    raws = _read_all(memory, (piece for pieces in spans for piece in pieces))
    return [_decode(s, pieces, raws) for s, pieces in zip(segments, spans, strict=True)]


def _pages(address: int, size: int) -> list[tuple[int, int]]:
    """Cut what is no longer than a page where a page ends."""
    first = min(size, PAGE - address % PAGE)
    rest = [((address + first) & _LINEAR, size - first)]
    return [(address, first), *(rest if size > first else [])]


def _read_all(
    memory: Memory, pieces: Iterable[tuple[int, int]]
) -> Mapping[tuple[int, int], bytes | None]:
    wanted = list(dict.fromkeys(pieces))
    return dict(zip(wanted, memory.read_many(wanted) if wanted else [], strict=True))


def _decode(
    segment: SystemSegment,
    pieces: list[tuple[int, int]],
    raws: Mapping[tuple[int, int], bytes | None],
) -> Tss:
    joined, missing = b"", []
    for piece in pieces:
        raw = raws[piece]
        if raw is None:
            missing.append((len(joined), len(joined) + piece[1] - 1))
        joined += bytes(piece[1]) if raw is None else raw
    return decode_tss(joined, segment.bits, len(joined) - 1, segment.base, tuple(missing))


def _code_places(gdt: bytes, tasks: Sequence[Task]) -> dict[int, tuple[int, int]]:
    """Say where the LDTs of waiting tasks hold the descriptors of their code, by selector."""
    found = {t.selector: _in_ldt(gdt, t) for t in tasks if not t.current}
    return {selector: place for selector, place in found.items() if place is not None}


def _in_ldt(gdt: bytes, task: Task) -> tuple[int, int] | None:
    cs, at = Selector(task.cs or 0), (task.ldt or 0) & ~7
    ldt = decode_descriptor(gdt[at : at + _SLOT]) if cs.ti and at else None
    if not isinstance(ldt, SystemSegment) or ldt.kind != "ldt" or not ldt.present:
        return None
    inside = cs.byte_offset + _SLOT - 1 <= ldt.last_byte
    return ((ldt.base + cs.byte_offset) & _LINEAR, _SLOT) if inside else None


def _code_base(gdt: bytes, task: Task, in_ldt: bytes | None) -> int | None:
    if task.cpu:
        return task.cpu.segments["cs"].base
    cs = Selector(task.cs or 0)
    if task.eflags is not None and bit(task.eflags, _VM):
        return cs.raw << 4
    raw = in_ldt if cs.ti else gdt[cs.byte_offset : cs.byte_offset + _SLOT]
    segment = decode_descriptor(raw) if raw and not cs.null else None
    return segment.base if isinstance(segment, Segment) else None
