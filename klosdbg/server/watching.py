"""Watchpoints, where they are safe.

QEMU looks for watchpoints in whatever its processor touches. Where that is what an interrupt or a
load of a segment touches by itself (the tables, the TSS, a stack of an inner ring), the interrupt
is lost, or QEMU aborts; so such pages are refused.
"""

from collections.abc import Iterator

from klosdbg.errors import CommandError, TargetError, TargetLost
from klosdbg.ports import Target, WatchKind
from klosdbg.read import read_cpu, read_selector, read_tss
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Segment
from klosdbg.x86.paging import PAGE
from klosdbg.x86.selector import Selector
from klosdbg.x86.tss import Tss

KINDS: dict[int, WatchKind] = {2: "watch", 3: "rwatch", 4: "awatch"}
MOST_WATCHED = 64
"""Bytes of one watchpoint, and how many a client may have."""

_VECTORS = 256
_PE = 1
_STACK = 2 * PAGE
_STACK_POINTERS = (
    "sp0", "sp1", "sp2", "esp0", "esp1", "esp2", "rsp0", "rsp1", "rsp2",
    "ist1", "ist2", "ist3", "ist4", "ist5", "ist6", "ist7",
)  # fmt: skip


def add_watchpoint(hub: Hub, client: Client, kind: int, address: int, size: int) -> None:
    """Watch linear addresses for a client, or raise ``CommandError`` that says why not."""
    hub.require_control(client)
    watchpoints, asked = hub.target.watchpoints, (KINDS[kind], address, size)
    if watchpoints is None:
        raise CommandError(f"{hub.target.name} has no watchpoints")
    if asked in client.watchpoints:
        return
    if not 0 < size <= MOST_WATCHED or len(client.watchpoints) >= MOST_WATCHED:
        raise CommandError(f"{MOST_WATCHED} watchpoints of up to {MOST_WATCHED} bytes can be set")
    why = why_unsafe(hub.target, address, size)
    if why:
        refusal = (
            f"{address:#x} cannot be watched: {why} is in its page, and QEMU would lose interrupts "
            "or abort: delete it, and step, or set a breakpoint on what writes there"
        )
        if not client.hides_errors:
            raise CommandError(refusal)
        client.refused[asked] = refusal
        return
    with hub.stopped():
        watchpoints.insert(*asked)
    client.watchpoints.add(asked)


def remove_watchpoint(hub: Hub, client: Client, kind: int, address: int, size: int) -> None:
    """Take away a client's watchpoint; one that is gone already does no harm."""
    asked = (KINDS[kind], address, size)
    client.refused.pop(asked, None)
    if hub.target.watchpoints is not None and asked in client.watchpoints:
        with hub.stopped():
            hub.target.watchpoints.remove(*asked)
        client.watchpoints.discard(asked)


def why_unsafe(target: Target, address: int, size: int) -> str | None:
    """Name what the processor itself touches in the pages of a range; None where it is nothing."""
    first, last = address & -PAGE, address + size - 1 | PAGE - 1
    for name, start, end in _touched(target):
        if start & -PAGE <= last and end | PAGE - 1 >= first:
            return name
    return None


def _touched(target: Target) -> Iterator[tuple[str, int, int]]:
    """Yield what it is, and its first and last linear address."""
    cpu = read_cpu(target)
    if _is_protected(cpu):
        yield "the GDT", cpu.gdtr.base, cpu.gdtr.base + cpu.gdtr.limit
    vectors = min(cpu.idtr.limit, _VECTORS * _vector_size(cpu) - 1)
    yield ("the IDT" if _is_protected(cpu) else "the IVT"), cpu.idtr.base, cpu.idtr.base + vectors
    for name, text in (("ldtr", "the LDT"), ("tr", "the TSS")):
        segment = cpu.segments[name]
        # What a null selector leaves in the hidden part, from reset on, is no table.
        if segment.present and not Selector(segment.selector).null:
            yield text, segment.base, segment.base + segment.limit
    if cpu.cpl == 0:
        top = cpu.segments["ss"].base + cpu.stack_pointer
        yield "the stack of ring 0", top - _STACK, top + PAGE
    yield from _inner_stacks(target, cpu)


def _is_protected(cpu: Cpu) -> bool:
    return bool(cpu.cr0 & _PE)


def _vector_size(cpu: Cpu) -> int:
    if not _is_protected(cpu):
        return 4
    return 16 if cpu.long_mode else 8


def _inner_stacks(target: Target, cpu: Cpu) -> Iterator[tuple[str, int, int]]:
    try:
        tss = read_tss(target)
    except TargetLost:
        raise
    except (CommandError, TargetError):
        return
    for name in _STACK_POINTERS:
        pointer = tss.fields.get(name)
        if pointer:
            top = _stack_base(target, cpu, tss, name) + pointer
            yield f"the stack of TSS.{name}", top - _STACK, top - 1


def _stack_base(target: Target, cpu: Cpu, tss: Tss, name: str) -> int:
    selector = tss.fields.get(f"ss{name[-1]}")
    if cpu.long_mode or selector is None:
        return 0
    descriptor = read_selector(target, selector).descriptor
    return descriptor.base if isinstance(descriptor, Segment) else 0
