"""Another task than the one that runs: its TSS, its LDT, and selectors as it sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from klosdbg.errors import CommandError
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_ldt, read_selector, read_tss
from klosdbg.x86.cpu import Cpu, SegmentRegister
from klosdbg.x86.descriptor import SystemSegment
from klosdbg.x86.selector import Selector
from klosdbg.x86.table import Table
from klosdbg.x86.tss import Tss


@dataclass(frozen=True, slots=True)
class _Held:
    """Registers as they would be."""

    cpu: Cpu

    def read(self) -> Cpu:
        """Give them."""
        return self.cpu


def task_name(selector: int) -> str:
    """Name the task whose TSS a selector selects."""
    return f"task {selector & ~3:#x}"


def system_segment(target: Target, selector: int) -> SystemSegment | None:
    """Read the LDT or TSS descriptor that a selector selects; None where it selects none."""
    if Selector(selector).ti:
        return None
    found = read_selector(target, selector).descriptor
    return found if isinstance(found, SystemSegment) else None


def read_tss_of(target: Target, selector: int) -> Tss:
    """Read the TSS of a selector, which may be another task's than the one that runs.

    ``CommandError`` where it selects none.
    """
    segment = system_segment(target, selector)
    if segment is None or segment.kind == "ldt":
        what = "an LDT" if segment else "no TSS"
        raise CommandError(f"{selector:#06x} selects {what}: 'tasks' lists the TSSs")
    if _selects(read_cpu(target), "tr", selector):
        return read_tss(target)
    return read_tss(_holding(target, _loaded("tr", selector, segment, present=True)))


def read_ldt_of(target: Target, selector: int, names: Mapping[int, str] | None = None) -> Table:
    """Read the LDT of a selector, or the LDT of the task whose TSS it selects.

    ``names`` maps indices of the LDT in LDTR to names. ``CommandError`` where there is none.
    """
    segment, cpu = system_segment(target, selector), read_cpu(target)
    if segment is None:
        raise CommandError(f"{selector:#06x} selects no LDT and no TSS: see 'gdt' and 'tasks'")
    if segment.kind != "ldt":
        selector = _ldt_of_task(target, cpu, selector)
    if _selects(cpu, "ldtr", selector):
        return read_ldt(target, names)
    other = with_ldt(target, selector)
    if selector and not read_cpu(other).segments["ldtr"].present:
        raise CommandError(f"no LDT: {selector:#06x} selects none: see 'sel {selector:#x}'")
    return read_ldt(other)


def _ldt_of_task(target: Target, cpu: Cpu, selector: int) -> int:
    if _selects(cpu, "tr", selector):
        return cpu.segments["ldtr"].selector
    found = read_tss_of(target, selector).fields.get("ldt")
    if found is None or Selector(found).null:
        why = "is too short to name one" if found is None else f"holds selector {found:#06x}"
        raise CommandError(f"{task_name(selector)} has no LDT: its TSS {why}")
    return found


def _selects(cpu: Cpu, register: str, selector: int) -> bool:
    held = cpu.segments[register]
    return held.present and held.selector & ~3 == selector & ~3


def with_ldt(target: Target, selector: int) -> Target:
    """Give a target as it would be with another LDT in LDTR, or with none for a null selector.

    What reads it follows selectors as a task does whose LDT that is.
    """
    segment = system_segment(target, selector)
    ldt = segment if segment is not None and segment.kind == "ldt" else None
    return _holding(target, _loaded("ldtr", selector, ldt))


def _loaded(
    name: str, selector: int, segment: SystemSegment | None, present: bool = False
) -> SegmentRegister:
    """Make a register that was loaded with a descriptor, which need not be ``present``."""
    if segment is None:
        return SegmentRegister(name, selector, 0, 0, 0)
    flags = int.from_bytes(segment.raw[4:8], "little") | present << 15
    return SegmentRegister(name, selector, segment.base, segment.last_byte, flags)


def _holding(target: Target, register: SegmentRegister) -> Target:
    cpu = read_cpu(target)
    held = replace(cpu, segments={**cpu.segments, register.name: register})
    return replace(target, registers=_Held(held))
