"""Services, handlers, and the self-description with its checks."""

from collections import Counter

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosInfo, KlosService
from klosdbg.klos.checks import check_klos
from klosdbg.klos.find import booted_klos, find_klos, read_array, read_numbers, read_panic
from klosdbg.klos.models import Description, HandlerList, HandlerRow, ServiceList
from klosdbg.klos.vectors import own_name
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_idt, read_selector
from klosdbg.x86.descriptor import Descriptor, Gate, SystemSegment
from klosdbg.x86.tss import MINIMUM_LIMIT, decode_tss
from klosdbg.x86.vectors import vector_name


def read_klos(target: Target, symbols: Symbols | None) -> Description:
    """Find KLOS and check what it says of itself."""
    klos = find_klos(target, symbols)
    return Description(klos, check_klos(target, klos), read_panic(target, klos.info))


def read_services(target: Target, symbols: Symbols | None) -> ServiceList:
    """Read the services, and the table that Design A calls them through."""
    info = booted_klos(target, symbols).info
    services = read_array(target, info.services, KlosService, "services")
    table = read_numbers(target, info.service_table, 4, "service_table")
    return ServiceList(tuple(services), tuple(table))


def read_handlers(target: Target, symbols: Symbols | None, everything: bool) -> HandlerList:
    """Read each vector's gate, where it leads, and handler; that of most vectors is the default.

    A gate that leads past KLOS's stubs, to another task or elsewhere, has no handler.
    """
    info = booted_klos(target, symbols).info
    stubs = read_numbers(target, info.stubs, 4, "stubs")
    handlers = read_numbers(target, info.handlers, 4, "handlers")
    gates = [entry.descriptor for entry in read_idt(target).expanded().entries]
    default = Counter(handlers).most_common(1)[0][0] if handlers else None
    rows = [
        _handler(target, info, vector, gates[vector : vector + 1], (stub, handler))
        for vector, (stub, handler) in enumerate(zip(stubs, handlers, strict=False))
    ]
    shown = [row for row in rows if everything or row.handler != default]
    return HandlerList(tuple(shown), default, len(rows) - len(shown))


def _handler(
    target: Target, info: KlosInfo, vector: int, gate: list[Descriptor], told: tuple[int, int]
) -> HandlerRow:
    name = own_name(vector, info) or vector_name(vector) or ""
    kind = gate[0].kind if gate else "no gate"
    dpl = gate[0].dpl if gate else None
    stub: int | None = told[0]
    if gate and isinstance(gate[0], Gate) and gate[0].present:
        is_task = kind == "task-gate"
        stub = _task_entry(target, gate[0].target_selector) if is_task else gate[0].offset
    handler = told[1] if stub == told[0] else None
    return HandlerRow(vector, name, kind, dpl, stub, handler)


def _task_entry(target: Target, selector: int) -> int | None:
    """Read where a task begins from its TSS; None where that cannot be read."""
    try:
        segment = read_selector(target, selector).descriptor
        if not isinstance(segment, SystemSegment) or segment.bits != 32:
            return None
        raw = target.linear.read(segment.base, MINIMUM_LIMIT[32] + 1)
    except KlosdbgError:
        return None
    return decode_tss(raw, 32, MINIMUM_LIMIT[32], segment.base).fields["eip"]
