"""Services, handlers, and the self-description with its checks."""

from collections import Counter

from klosdbg.klos.abi import KlosInfo, KlosService
from klosdbg.klos.checks import check_klos
from klosdbg.klos.find import booted_klos, find_klos, read_array, read_numbers, read_panic
from klosdbg.klos.models import Description, HandlerList, HandlerRow, ServiceList
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_idt
from klosdbg.x86.descriptor import Descriptor
from klosdbg.x86.vectors import vector_name

_IRQ = 32
_IRQS = 16


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
    """Read each vector's gate, stub and handler; the handler of most vectors is the default."""
    info = booted_klos(target, symbols).info
    stubs = read_numbers(target, info.stubs, 4, "stubs")
    handlers = read_numbers(target, info.handlers, 4, "handlers")
    gates = [entry.descriptor for entry in read_idt(target).expanded().entries]
    default = Counter(handlers).most_common(1)[0][0] if handlers else None
    rows = [
        _handler(vector, info, gates[vector : vector + 1], stub, handler)
        for vector, (stub, handler) in enumerate(zip(stubs, handlers, strict=False))
    ]
    shown = [row for row in rows if everything or row.handler != default]
    return HandlerList(tuple(shown), default, len(rows) - len(shown))


def _handler(
    vector: int, info: KlosInfo, gate: list[Descriptor], stub: int, handler: int
) -> HandlerRow:
    kind = gate[0].kind if gate else "no gate"
    dpl = gate[0].dpl if gate else None
    return HandlerRow(vector, _vector_name(vector, info), kind, dpl, stub, handler)


def _vector_name(vector: int, info: KlosInfo) -> str:
    own = {info.commit_vector: "commit", info.trap_vector: "trap"}
    if vector in own:
        return own[vector]
    if _IRQ <= vector < _IRQ + _IRQS:
        return f"IRQ {vector - _IRQ}"
    return vector_name(vector) or ""
