"""What a TSS has saved of a task: where it goes on when it is switched to (SDM Vol. 3A, 8.2)."""

from dataclasses import dataclass

from klosdbg.errors import CommandError
from klosdbg.events.event import Place
from klosdbg.other_task import with_ldt
from klosdbg.ports import Target
from klosdbg.read import read_selector
from klosdbg.x86.descriptor import SystemSegment
from klosdbg.x86.tss import MINIMUM_LIMIT, decode_tss

_NAMES = {
    16: ("cs", "ip", "flags", "ss", "sp", "ldt"),
    32: ("cs", "eip", "eflags", "ss", "esp", "ldt"),
}
_VM = 1 << 17


@dataclass(frozen=True, slots=True)
class SavedTask:
    """The registers that say where a task stands; ``bits`` is the width of its TSS."""

    bits: int
    cs: int
    eip: int
    eflags: int
    ss: int
    esp: int
    ldt: int

    def seen_from(self, target: Target) -> Target:
        """Give the target with this task's LDT in LDTR, where it has one."""
        return with_ldt(target, self.ldt) if self.ldt else target

    def place(self, target: Target) -> Place:
        """Say where it goes on."""
        if self.eflags & _VM:
            linear, cpl = (self.cs << 4) + self.eip, 3
        else:
            code = read_selector(self.seen_from(target), self.cs).descriptor
            linear, cpl = (getattr(code, "base", 0) + self.eip) & 0xFFFF_FFFF, self.cs & 3
        return Place(self.cs, self.eip, linear, cpl, self.ss, self.esp)


def read_saved_task(target: Target, selector: int) -> SavedTask:
    """Read the TSS of a selector; ``CommandError`` where it is no TSS of 16 or 32 bits."""
    segment = read_selector(target, selector).descriptor
    if not isinstance(segment, SystemSegment) or segment.bits not in _NAMES:
        raise CommandError(f"{selector:#06x} is no TSS of a task: see 'sel {selector:#x}'")
    size = MINIMUM_LIMIT[segment.bits] + 1
    raw = target.linear.read(segment.base, size)
    fields = decode_tss(raw, segment.bits, size - 1, segment.base).fields
    return SavedTask(segment.bits, *(fields[name] or 0 for name in _NAMES[segment.bits]))
