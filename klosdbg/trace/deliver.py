"""Making a stopped guest take an exception, by writes to its memory and registers."""

from klosdbg.errors import CommandError
from klosdbg.models import Written
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_register
from klosdbg.trace.code_cache import CodeCache
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.delivery import Delivery, Fault, plan_delivery


def deliver(target: Target, cpu: Cpu, fault: Fault, memory: CodeCache) -> tuple[Written, ...]:
    """Take a fault as the processor would; return what was changed. Raises ``CommandError``."""
    if target.linear_writer is None or target.register_writer is None:
        raise CommandError(f"{target.name} cannot be written to: leave out --deliver")
    plan = plan_delivery(cpu, fault, memory.read)
    if isinstance(plan, str):
        raise CommandError(plan)
    memory.written(address for address, _ in plan.memory)
    return _write_memory(target, plan) + _write_registers(target, cpu, plan)


def _write_memory(target: Target, plan: Delivery) -> tuple[Written, ...]:
    assert target.linear_writer is not None
    changes = []
    for address, raw in plan.memory:
        before = target.linear.read(address, len(raw))
        target.linear_writer.write(address, raw)
        changes.append(Written(f"{address:#010x}", _hexadecimal(before), _hexadecimal(raw)))
    return tuple(changes)


def _hexadecimal(raw: bytes) -> str:
    return f"{int.from_bytes(raw, 'little'):#0{2 + 2 * len(raw)}x}"


def _write_registers(target: Target, cpu: Cpu, plan: Delivery) -> tuple[Written, ...]:
    assert target.register_writer is not None
    for name, value in plan.registers:
        target.register_writer.write(name, value)
    after = read_cpu(target)
    return tuple(
        Written(
            name, f"{read_register(cpu, name) or 0:#x}", f"{read_register(after, name) or 0:#x}"
        )
        for name, _ in plan.registers
    )
