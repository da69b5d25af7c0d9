"""Whether the processor itself would load a selector into a segment register."""

from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_selector
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Segment
from klosdbg.x86.selector import Selector

LOADED = ("cs", "ss", "ds", "es", "fs", "gs")


def why_not_loaded(target: Target, name: str, value: int) -> str | None:
    """Say which check of a load fails, or None where all pass; a debugger's write makes none."""
    cpu = read_cpu(target)
    if cpu.real_addressing or cpu.long_mode:
        return None
    selector = Selector(value)
    if selector.null:
        return f"#GP: a null selector in {name.upper()}" if name in ("cs", "ss") else None
    found = read_selector(target, value)
    if found.descriptor is None:
        return found.why or "there is no such descriptor"
    if not isinstance(found.descriptor, Segment):
        return "#GP: it names no code or data segment"
    return _wrong_segment(name, cpu, selector, found.descriptor)


def _wrong_segment(name: str, cpu: Cpu, selector: Selector, segment: Segment) -> str | None:
    if name == "cs" and not segment.executable:
        return "#GP: it names no code segment"
    if name == "ss" and not (segment.writable and selector.rpl == segment.dpl == cpu.cpl):
        return f"#GP: SS takes a writable segment whose DPL and RPL are the CPL, {cpu.cpl}"
    if name not in ("cs", "ss") and not segment.readable:
        return "#GP: its code segment cannot be read"
    if name not in ("cs", "ss") and not segment.conforming and segment.dpl < cpu.cpl:
        return f"#GP: its DPL {segment.dpl} is above the CPL, {cpu.cpl}, in privilege"
    return None if segment.present else "#NP or #SS: its descriptor is not present"
