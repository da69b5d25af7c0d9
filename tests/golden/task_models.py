"""Tasks with a fixed content."""

from collections.abc import Iterator
from dataclasses import replace

from klosdbg.tasks.models import Task, Tasks
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.x86.descriptor import SystemSegment, decode_descriptor
from klosdbg.x86.tss import decode_tss
from tests.golden.registers import PROTECTED


def _task(selector: int, raw: int, eip: int, cs: int, flags: int = 0x202, size: int = 104) -> Task:
    descriptor = decode_descriptor(raw.to_bytes(8, "little"))
    assert isinstance(descriptor, SystemSegment)
    tss = bytearray(size)
    for at, value in ((0, 0x28), (28, 0x204000), (32, eip), (36, flags), (76, cs), (96, 0x38)):
        tss[at : at + 4] = value.to_bytes(4, "little")
    decoded = decode_tss(bytes(tss[:size]), descriptor.bits, size - 1, descriptor.base)
    return Task(selector, descriptor, decoded, 0)


def task_lists() -> Iterator[tuple[str, object]]:
    """Yield lists of tasks."""
    cpu = parse_info_registers(PROTECTED)
    current = replace(_task(0x28, 0x00008B0010000067, 0, 0), processor=0, cpu=cpu)
    named = _task(0x40, 0x0000890010680067, 0x103E64, 8)
    found = (
        current,
        named,
        replace(_task(0x48, 0x00008B0010D00067, 0x1000, 0x0F, 0x4202), code_base=0x4000000),
        replace(_task(0x50, 0x0000890010D00067, 0x1000, 0x17), code_base=None),
        replace(_task(0x58, 0x0000890011000067, 0, 0), code_base=None),
        _task(0x60, 0x0000090011000067, 0x1000, 8),
        _task(0x68, 0x0000890011000020, 0, 0, size=0x21),
        _task(0xFFF8, 0x000081001200002B, 0, 0, size=44),
    )
    tasks = Tasks(0x101000, 0xFFFF, 0x28, found)
    yield "tasks", tasks
    second = replace(named, processor=11, cpu=cpu)
    yield (
        "tasks-two-processors",
        replace(tasks, tasks=(current, second, *found[2:3]), processors=12),
    )
    yield "tasks-one-each", replace(tasks, tasks=(current, second), processors=12)
    yield "tasks-one", replace(tasks, tasks=(current,))
    yield "tasks-none", replace(tasks, tasks=())
