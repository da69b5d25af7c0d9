"""A live target behind a GDB stub, QEMU's above all: the ports, put together.

What only QEMU's stub understands is in ``qemu_dialect``; another stub lacks the ports that need it.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from klosdbg.errors import TargetError
from klosdbg.ports import Target
from klosdbg.targets.qemu_dialect import QemuDialect, QemuMachine, QemuMonitor, Resets
from klosdbg.targets.rsp_control import RspControl
from klosdbg.targets.rsp_link import RspLink, open_socket
from klosdbg.targets.rsp_memory import RspMemory, RspMemoryWriter
from klosdbg.targets.rsp_registers import RspRegisters, RspRegisterWriter
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.targets.rsp_watch import RspWatchpoints


@dataclass(frozen=True, slots=True)
class RspPorts:
    """The ports of a stub by their own types, and the target that they make."""

    stub: RspStub
    registers: RspRegisters
    control: RspControl
    monitor: QemuMonitor
    target: Target


def open_rsp(
    spec: str, *, resets: Resets | None = None, was_running: bool | None = None
) -> RspPorts:
    """Connect to a stub at ``host:port`` or ``unix:PATH``; ``TargetLost`` where nobody answers.

    ``was_running`` is what somebody else knows about the guest before this connection stopped it,
    where the stub does not always say. ``resets`` resets a machine that shuts down where others
    reset.
    """
    return greet(RspLink(open_socket(spec), spec), resets=resets, was_running=was_running)


def greet(
    link: RspLink, *, resets: Resets | None = None, was_running: bool | None = None
) -> RspPorts:
    """Make the ports of a stub that has just been connected to."""
    with ExitStack() as undo:
        undo.callback(link.close)
        ports = _ports(link, resets, was_running)
        undo.pop_all()
        return ports


def _ports(link: RspLink, resets: Resets | None, was_running: bool | None) -> RspPorts:
    stub = RspStub(link)
    dialect = QemuDialect(stub)
    if was_running is not None or dialect.stopped_silently():
        stub.found_running(was_running is not False)
    registers = RspRegisters(stub, dialect)
    machine = QemuMachine(stub, dialect, registers.read, resets)
    monitor = QemuMonitor(stub)
    linear = RspMemory(stub, "linear", dialect.ask_linear)
    control = RspControl(stub, dialect, machine, linear, registers.read)
    several = dialect.has_monitor and len(stub.threads) > 1

    def read_at_stop(
        names: Collection[str], requests: list[tuple[int, int]]
    ) -> tuple[Mapping[str, int], list[bytes | None]]:
        (general,), found = linear.read_after([b"g"], requests)
        return stub.description.decode(general, names), found

    def close() -> None:
        try:
            control.leave()
        except TargetError:
            pass
        finally:
            link.close()

    target = Target(
        name=link.name,
        registers=registers,
        linear=linear,
        physical=RspMemory(stub, "physical", dialect.ask_physical)
        if dialect.has_physical
        else None,
        linear_writer=RspMemoryWriter(stub, dialect.ask_linear),
        register_writer=RspRegisterWriter(stub, dialect),
        control=control,
        reverse=control if "ReverseStep" in stub.features.supported else None,
        monitor=monitor if dialect.has_monitor else None,
        watchpoints=RspWatchpoints(stub),
        processors=dialect.read_processors if several else None,
        connection=link,
        read_general=registers.read_general,
        linear_at_stop=linear,
        read_at_stop=read_at_stop,
        stands_at=control.stands_at,
        close=close,
        address_bits=64 if stub.description.is_64_bit else 32,
    )
    return RspPorts(stub, registers, control, monitor, target)
