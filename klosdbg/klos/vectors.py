"""What KLOS calls the vectors that the processor has no name for."""

from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.constants import IRQS
from klosdbg.x86.vectors import vector_name

_VECTORS = 256


def own_name(vector: int, info: KlosInfo) -> str | None:
    """Name a vector of KLOS's own: ``commit``, ``trap``, ``IRQ 0``; None for any other."""
    own = {info.commit_vector: "commit", info.trap_vector: "trap"}
    if vector in own:
        return own[vector]
    if info.irq_vector <= vector < info.irq_vector + IRQS:
        return f"IRQ {vector - info.irq_vector}"
    return None


def own_names(info: KlosInfo) -> dict[int, str]:
    """Name every vector of KLOS's own that is no exception."""
    named = {vector: own_name(vector, info) for vector in range(_VECTORS)}
    return {v: name for v, name in named.items() if name and vector_name(v) is None}
