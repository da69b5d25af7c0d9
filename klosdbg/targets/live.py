"""A live target: a stopped guest is read through its GDB stub, a running one through QMP."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from klosdbg.paged import PagedMemory
from klosdbg.ports import Memory, Monitor, Registers, Target
from klosdbg.targets.qmp import Qmp
from klosdbg.targets.qmp_ports import Exchange, QmpMemory, QmpRegisters
from klosdbg.targets.rsp import RspPorts, open_rsp
from klosdbg.targets.shared_ram import SharedRam
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import paging_of

IsRunning = Callable[[], bool]


class LiveMemory:
    """Memory of a guest, by the way that its state allows."""

    def __init__(self, is_running: IsRunning, stopped: Memory, running: Memory) -> None:
        self._is_running = is_running
        self._stopped = stopped
        self._running = running

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        return self._now().read(address, size)

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        return self._now().read_many(requests)

    def _now(self) -> Memory:
        return self._running if self._is_running() else self._stopped


class SharedMemory:
    """Linear memory through shared RAM, but where A20 is off or in SMM, which only QEMU knows."""

    def __init__(self, registers: Registers, physical: Memory, rest: Memory) -> None:
        self._registers = registers
        self._paged = PagedMemory(physical, None)
        self._physical = physical
        self._rest = rest

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        return self._way().read(address, size)

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        return self._way().read_many(requests)

    def _way(self) -> Memory:
        cpu = self._registers.read()
        if not cpu.a20 or cpu.smm:
            return self._rest
        paging = paging_of(cpu)
        if paging != self._paged.paging:
            self._paged = PagedMemory(self._physical, paging)
        return self._paged


class LiveRegisters:
    """Registers of a guest, by the way that its state allows."""

    def __init__(self, is_running: IsRunning, stopped: Registers, running: Registers) -> None:
        self._is_running = is_running
        self._stopped = stopped
        self._running = running

    def read(self) -> Cpu:
        """Read every register."""
        return (self._running if self._is_running() else self._stopped).read()


class LiveMonitor:
    """The emulator's monitor, by the way that the guest's state allows."""

    def __init__(self, is_running: IsRunning, stopped: Monitor, running: Qmp) -> None:
        self._is_running = is_running
        self._stopped = stopped
        self._running = running

    def command(self, text: str) -> str:
        """Run one monitor command and return what it printed."""
        return self._running.monitor(text) if self._is_running() else self._stopped.command(text)


def connect(target: str, qmp: str | None = None) -> Target:
    """Attach to a guest under a GDB stub (``host:port`` or ``unix:PATH``), and to its QMP.

    Closing the target leaves the guest as it was found. ``TargetLost`` where nobody answers.
    """
    if qmp is None:
        return open_rsp(target).target
    connection = Qmp(qmp)
    with ExitStack() as undo:
        undo.callback(connection.close)
        was_running = connection.status() == "running"
        rsp = open_rsp(target, resets=connection, was_running=was_running)
        undo.pop_all()
        return add_qmp(rsp, connection)


def add_qmp(rsp: RspPorts, qmp: Qmp) -> Target:
    """Read through QMP while the guest runs."""
    exchange = Exchange()
    stopped = rsp.target

    def is_running() -> bool:
        return rsp.control.running

    def memory(port: Memory, space: Literal["linear", "physical"]) -> LiveMemory:
        return LiveMemory(is_running, port, QmpMemory(qmp, exchange, space))

    def close() -> None:
        stopped.close()
        qmp.close()
        exchange.close()

    return replace(
        stopped,
        registers=LiveRegisters(is_running, stopped.registers, QmpRegisters(qmp)),
        linear=memory(stopped.linear, "linear"),
        physical=memory(stopped.physical, "physical") if stopped.physical else None,
        monitor=LiveMonitor(is_running, rsp.monitor, qmp),
        close=close,
    )


def add_ram(target: Target, ram: SharedRam) -> Target:
    """Read through shared RAM, whether the guest runs or not."""
    if target.physical is None:
        return target
    physical = ram.memory(target.physical)
    linear = SharedMemory(target.registers, physical, target.linear)
    return replace(target, linear=linear, physical=physical)
