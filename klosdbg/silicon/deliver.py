"""Making a stopped guest take an exception, by writes to its memory and registers."""

from collections.abc import Callable, Iterable
from functools import partial

from klosdbg.errors import CommandError
from klosdbg.models import Written
from klosdbg.ports import Target
from klosdbg.read import read_register
from klosdbg.silicon.code_cache import CodeCache
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.delivery import Delivery, Fault, plan_delivery


def deliver(target: Target, cpu: Cpu, fault: Fault, memory: CodeCache) -> tuple[Written, ...]:
    """Take a fault as the processor would; return what was changed. Raises ``CommandError``."""
    if target.linear_writer is None or target.register_writer is None:
        raise CommandError(
            f"{target.name} cannot be written to ({target.read_only}): leave out --deliver"
        )
    plan = plan_delivery(cpu, fault, memory.read)
    if isinstance(plan, str):
        raise CommandError(plan)
    changes = _changes(target, cpu, plan)
    memory.written(address for address, _ in plan.memory)
    _all_or_nothing(_write_memory(target, plan) + _write_registers(target, plan))
    return changes


def _write_memory(target: Target, plan: Delivery) -> list[Callable[[], None]]:
    assert target.linear_writer is not None
    write = target.linear_writer.write
    return [partial(write, address, raw) for address, raw in plan.memory]


def _write_registers(target: Target, plan: Delivery) -> list[Callable[[], None]]:
    assert target.register_writer is not None
    write = target.register_writer.write
    return [partial(write, name, value) for name, value in plan.registers]


def _all_or_nothing(writes: Iterable[Callable[[], None]]) -> None:
    """Make every write, each once more where Ctrl-C comes into it; pass that on at the end."""
    interrupted = False
    for write in writes:
        try:
            write()
        except KeyboardInterrupt:
            interrupted = True
            write()
    if interrupted:
        raise KeyboardInterrupt


def _hexadecimal(raw: bytes) -> str:
    return f"{int.from_bytes(raw, 'little'):#0{2 + 2 * len(raw)}x}"


def _changes(target: Target, cpu: Cpu, plan: Delivery) -> tuple[Written, ...]:
    """Tell what the plan changes, as long as it has not been carried out."""
    memory = [
        Written(
            f"{place:#010x}", _hexadecimal(target.linear.read(place, len(raw))), _hexadecimal(raw)
        )
        for place, raw in plan.memory
    ]
    registers = [
        Written(name, f"{read_register(cpu, name) or 0:#x}", f"{value:#x}")
        for name, value in plan.registers
    ]
    return (*memory, *registers)
