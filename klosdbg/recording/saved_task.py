"""What a TSS has saved of a task: where it goes on when it is switched to (SDM Vol. 3A, 8.2)."""

from dataclasses import dataclass

from klosdbg.errors import CommandError
from klosdbg.ports import Target
from klosdbg.read import read_selector
from klosdbg.x86.descriptor import SystemSegment
from klosdbg.x86.tss import MINIMUM_LIMIT, decode_tss

_NAMES = {16: ("cs", "ip", "flags", "ss", "sp"), 32: ("cs", "eip", "eflags", "ss", "esp")}


@dataclass(frozen=True, slots=True)
class SavedTask:
    """The registers that say where a task stands; ``bits`` is the width of its TSS."""

    bits: int
    cs: int
    eip: int
    eflags: int
    ss: int
    esp: int


def read_saved_task(target: Target, selector: int) -> SavedTask:
    """Read the TSS of a selector; ``CommandError`` where it is no TSS of 16 or 32 bits."""
    segment = read_selector(target, selector).descriptor
    if not isinstance(segment, SystemSegment) or segment.bits not in _NAMES:
        raise CommandError(f"{selector:#06x} is no TSS of a task: see 'sel {selector:#x}'")
    size = MINIMUM_LIMIT[segment.bits] + 1
    raw = target.linear.read(segment.base, size)
    fields = decode_tss(raw, segment.bits, size - 1, segment.base).fields
    return SavedTask(segment.bits, *(fields[name] or 0 for name in _NAMES[segment.bits]))
