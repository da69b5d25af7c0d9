"""Comparing what KLOS says of itself with what the processor says."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosArray, KlosInfo, KlosProcess, KlosSite, KlosThread
from klosdbg.klos.constants import IRQS, Site
from klosdbg.klos.find import read_array, read_entry, read_numbers
from klosdbg.klos.models import Check, Klos, Value
from klosdbg.ports import Target
from klosdbg.read import read_idt, read_selector
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Descriptor, Gate, Segment, SystemSegment
from klosdbg.x86.paging import paging_of
from klosdbg.x86.selector import Selector

_TOP = 0xFFFF_FFFF
_IOMAP_BASE = 0x66
_SETTLING = "a relocation is under way: sequence is odd"
_MOVING = "the guest runs, so this changed while it was read: add --stop"
_UNTOLD = "the profile does not say"
_RELOCATED = ("dsos", "sites")
_CHANGING = (*_RELOCATED, "current_pid", "current_thread")


def check_klos(target: Target, klos: Klos) -> tuple[Check, ...]:
    """Check every address and selector; empty before KLOS has booted."""
    if not klos.booted:
        return ()
    cpu = target.registers.read()
    found: list[Check] = []
    for checks in (_registers, _segments, _systems, _gates, _places, _running, _sites):
        found += _guarded(checks, target, cpu, klos.info)
    running = target.control is not None and target.control.running
    return tuple(_unsettled(check, klos.info, running) for check in found)


_Checks = Callable[[Target, Cpu, KlosInfo], Iterator[Check]]


def _guarded(checks: _Checks, target: Target, cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    try:
        yield from checks(target, cpu, info)
    except KlosdbgError as error:
        name = checks.__name__.strip("_")
        yield Check(name, "wrong", "can be read", str(error), "memory")


def _unsettled(check: Check, info: KlosInfo, running: bool) -> Check:
    if check.result != "wrong":
        return check
    if not info.build_id and not _told(info, check.name):
        return replace(check, result="unknown", claimed=None, found=_UNTOLD)
    if running and check.name in _CHANGING:
        return replace(check, result="unknown", found=_MOVING)
    if info.sequence % 2 and check.name in _RELOCATED:
        return replace(check, result="unknown", found=_SETTLING)
    return check


def _told(info: KlosInfo, name: str) -> bool:
    """Tell whether a profile gives a fact; every image of KLOS has a build id."""
    value = getattr(info, name, None)
    return bool(value.count if isinstance(value, KlosArray) else value)


def _same(name: str, claimed: Value, found: Value, source: str) -> Check:
    return Check(name, "ok" if claimed == found else "wrong", claimed, found, source)


def _registers(target: Target, cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    ldtr, tr = cpu.segments["ldtr"], cpu.segments["tr"]
    yield _same("gdt", info.gdt, cpu.gdtr.base, "GDTR")
    yield _same("gdt_limit", info.gdt_limit, cpu.gdtr.limit, "GDTR")
    yield _same("ldt", info.ldt, ldtr.base, "LDTR")
    yield _same("ldt_limit", info.ldt_limit, ldtr.limit, "LDTR")
    yield _same("ldt_selector", info.ldt_selector, ldtr.selector, "LDTR")
    yield _same("idt", info.idt, cpu.idtr.base, "IDTR")
    yield _same("idt_limit", info.idt_limit, cpu.idtr.limit, "IDTR")
    yield _same("tss", info.tss, tr.base, "TR")
    yield _same("tss_limit", info.tss_limit, tr.limit, "TR")
    yield _same("tss_selector", info.tss_selector, tr.selector, "TR")
    base = int.from_bytes(target.linear.read(tr.base + _IOMAP_BASE, 2), "little")
    yield _same("iomap", info.iomap, tr.base + base, "the TSS")
    yield _same("iomap_size", info.iomap_size, tr.limit - base, "TR and the TSS")


def _segments(target: Target, _cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    expected = (
        ("csos", "execute-only code", 3, _TOP),
        ("dsapp", "writable data", 3, (info.app_top - 1) & _TOP),
        ("dsos", "writable data", 3, _TOP),
        ("core_code", "code", 0, _TOP),
        ("core_data", "writable data", 0, _TOP),
    )
    for name, kind, dpl, last_byte in expected:
        selector = getattr(info, name)
        claimed = f"{kind}, dpl {dpl}, 0x0 to {last_byte:#x}"
        found = _segment_text(_descriptor(target, selector), kind)
        yield _same(name, claimed, found, _table(selector))


def _segment_text(descriptor: Descriptor | None, wanted: str) -> str:
    if not isinstance(descriptor, Segment) or not descriptor.present:
        return _kind(descriptor)
    kind = descriptor.kind if wanted == descriptor.kind else _exact_kind(descriptor)
    first, last = descriptor.valid_offsets or (0, 0)
    first, last = descriptor.base + first, descriptor.base + last
    return f"{kind}, dpl {descriptor.dpl}, {first:#x} to {last:#x}"


def _exact_kind(segment: Segment) -> str:
    if segment.executable:
        conforming = "conforming " if segment.conforming else ""
        return conforming + ("readable code" if segment.readable else "execute-only code")
    return "writable data" if segment.writable else "read-only data"


def _systems(target: Target, _cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    expected = (
        ("tss_selector", "tss32", info.tss, info.tss_limit),
        ("ldt_selector", "ldt", info.ldt, info.ldt_limit),
    )
    for name, kind, base, limit in expected:
        selector = getattr(info, name)
        claimed = f"{kind} at {base:#x}, limit {limit:#x}"
        found = _system_text(_descriptor(target, selector))
        yield _same(name, claimed, found, _table(selector))
    fault = _descriptor(target, info.fault_tss_selector)
    yield _same("fault_tss_selector", "tss32", _kind(fault), _table(info.fault_tss_selector))


def _system_text(descriptor: Descriptor | None) -> str:
    if not isinstance(descriptor, SystemSegment) or not descriptor.present:
        return _kind(descriptor)
    return f"{descriptor.kind} at {descriptor.base:#x}, limit {descriptor.last_byte:#x}"


def _gates(target: Target, _cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    gate = _descriptor(target, info.gate_selector)
    claimed = f"call-gate, dpl 3, to selector {info.core_code:#06x}"
    yield _same("gate_selector", claimed, _gate_text(gate), _table(info.gate_selector))
    if isinstance(gate, Gate):
        yield _same("return_gate", info.return_gate, gate.offset, "the call gate")
    yield from _stubs(target, info)
    for name in ("commit_vector", "trap_vector"):
        vector = getattr(info, name)
        yield _same(name, f"vector {vector:#x}, dpl 3", _vector_text(target, vector), "the IDT")


def _stubs(target: Target, info: KlosInfo) -> Iterator[Check]:
    stubs = read_numbers(target, info.stubs, 4, "stubs")
    gates = [entry.descriptor for entry in read_idt(target).expanded().entries]
    wrong = [
        f"{vector:#x}"
        for vector, (stub, gate) in enumerate(zip(stubs, gates, strict=False))
        if not _leads_to_stub(vector, gate, stub, info)
    ]
    yield _all("stubs", "the IDT's offset", wrong, min(len(stubs), len(gates)))
    yield _same("stubs", info.stubs.count, len(gates), "IDTR: number of vectors")


def _leads_to_stub(vector: int, gate: Descriptor, stub: int, info: KlosInfo) -> bool:
    if not isinstance(gate, Gate) or not gate.present:
        return False
    if gate.kind == "task-gate":
        return gate.target_selector == info.fault_tss_selector
    # The benchmark's trap has a path of its own through the event core.
    own_path = vector > max(info.irq_vector + IRQS - 1, info.commit_vector, info.trap_vector)
    own_path &= info.core_text_start <= gate.offset < info.core_text_end
    return gate.offset == stub or own_path


def _all(name: str, source: str, wrong: list[str], total: int) -> Check:
    more = " ..." if len(wrong) > 4 else ""
    found = f"not {', '.join(wrong[:4])}{more}" if wrong else f"all {total}"
    return Check(name, "wrong" if wrong else "ok", f"all {total}", found, source)


def _vector_text(target: Target, vector: int) -> str:
    table = read_idt(target).only(vector)
    gate = table.entries[0].descriptor if table else None
    present = gate is not None and gate.present
    return f"vector {vector:#x}, dpl {gate.dpl}" if gate and present else _kind(gate)


def _gate_text(gate: Descriptor | None) -> str:
    if not isinstance(gate, Gate) or not gate.present:
        return _kind(gate)
    return f"{gate.kind}, dpl {gate.dpl}, to selector {gate.target_selector & ~3:#06x}"


def _places(target: Target, _cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    text = range(info.os_text_start, info.os_text_end)
    core = range(info.core_text_start, info.core_text_end)
    image = range(info.os_base, min(info.os_base + info.physical_size, _TOP))
    claimed = f"within {image.start:#x} to {image.stop - 1:#x}"
    for name, part in (("os_text_start", text), ("core_text_start", core)):
        inside = part and part[0] in image and part[-1] in image
        shown = claimed if inside else f"{part.start:#x} to {part.stop:#x}"
        yield _same(name, claimed, shown, "physical memory")
    handlers = read_numbers(target, info.handlers, 4, "handlers")
    outside = [f"{v:#x}" for v, handler in enumerate(handlers) if handler not in text]
    yield _all("handlers", "OS code", outside, len(handlers))
    stubs = read_numbers(target, info.stubs, 4, "stubs")
    outside = [f"{v:#x}" for v, stub in enumerate(stubs) if stub not in core]
    yield _all("stubs", "event core code", outside, len(stubs))


def _running(target: Target, cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    if not info.current_thread and not info.event_depth:
        yield _same("current_pid", info.current_pid, 0, "no thread: the processor idles")
        return
    if info.event_depth or cpu.cpl == 0:
        why = "an event is being handled"
        yield Check("current_pid", "unknown", info.current_pid, why, "CR3")
        return
    processes = read_array(target, info.processes, KlosProcess, "processes")
    process = next((p for p in processes if p.pid == info.current_pid and p.state), None)
    if process is None:
        yield Check("current_pid", "wrong", info.current_pid, "no such process", "processes")
        return
    paging = paging_of(cpu)
    found = f"cr3 {paging.root:#x}" if paging else "paging is off"
    yield _same("current_pid", f"cr3 {process.cr3:#x}", found, "CR3")
    thread = read_entry(target, info.threads, info.current_thread, KlosThread)
    found = f"pid {thread.pid}" if thread else "no thread"
    yield _same("current_thread", f"pid {info.current_pid}", found, "threads")


def _sites(target: Target, _cpu: Cpu, info: KlosInfo) -> Iterator[Check]:
    sites = read_array(target, info.sites, KlosSite, "sites")
    values = target.linear.read_many([(site.immediate, site.width % 5) for site in sites])
    wrong = [
        site.name
        for site, value in zip(sites, values, strict=True)
        if value is None or int.from_bytes(value, "little") not in _site_values(site, info)
    ]
    yield _all("sites", "the DSOS selector", wrong, len(sites))


def _site_values(site: KlosSite, info: KlosInfo) -> tuple[int, ...]:
    return (info.dsos, info.dsapp) if site.kind == Site.BARE else (info.dsos,)


def _descriptor(target: Target, selector: int) -> Descriptor | None:
    return read_selector(target, selector).descriptor


def _kind(descriptor: Descriptor | None) -> str:
    if descriptor is None:
        return "no descriptor"
    return descriptor.kind if descriptor.present else f"not-present {descriptor.kind}"


def _table(selector: int) -> str:
    return f"the {Selector(selector).table.upper()}"
