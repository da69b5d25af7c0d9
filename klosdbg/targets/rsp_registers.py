"""Registers through a GDB stub: by QEMU's monitor, which names the hidden parts, or by ``g``."""

from collections.abc import Collection

from klosdbg.errors import TargetError
from klosdbg.targets.qemu_dialect import QemuDialect
from klosdbg.targets.rsp_described import described_cpu
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.rsp_replies import garbage, parse_hex
from klosdbg.wire.target_xml import Register
from klosdbg.x86.cpu import Cpu

_SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")


class RspRegisters:
    """The registers of a stopped guest, read once a stop."""

    def __init__(self, stub: RspStub, dialect: QemuDialect) -> None:
        self._stub = stub
        self._dialect = dialect
        self._known: tuple[int, Cpu] | None = None

    def read(self) -> Cpu:
        """Read every register, hidden parts included, of the processor that stopped."""
        self._stub.require_stopped()
        if self._known is None or self._known[0] != self._stub.changes:
            self._known = self._stub.changes, self._read()
        return self._known[1]

    def read_general(self, names: Collection[str] = ()) -> dict[str, int]:
        """Read what ``g`` holds, by GDB's names, or only these: quicker, and less."""
        return self._stub.description.decode(self._stub.ask(b"g"), names)

    def _read(self) -> Cpu:
        if self._dialect.has_monitor:
            return self._dialect.read_registers()
        return described_cpu(self.read_general())


class RspRegisterWriter:
    """Registers of a stopped guest, written one by one."""

    def __init__(self, stub: RspStub, dialect: QemuDialect) -> None:
        self._stub = stub
        self._dialect = dialect

    def write(self, name: str, value: int) -> None:
        """Write one register; a selector is loaded again even when it holds the value already.

        QEMU does so when it held another one before, without the processor's checks, and ignores a
        selector beyond its table; both it and a value that does not stick raise ``TargetError``.
        """
        register = self._stub.description.find(name)
        if register is None:
            raise TargetError(f"the stub cannot write {name!r}; it knows {self._names()}")
        if not 0 <= value < 1 << register.bits:
            raise TargetError(f"{value:#x} does not fit {name}, which has {register.bits} bits")
        again = self._dialect.has_monitor and name in _SELECTORS
        if again and self._read(register) == value:
            self._write(register, 0 if value else 3)
        self._write(register, value)
        if self._read(register) != value:
            raise TargetError(f"{name} did not take {value:#x}: the stub refuses it in this state")

    def _write(self, register: Register, value: int) -> None:
        digits = value.to_bytes(register.size, "little").hex().encode()
        reply = self._stub.ask(b"P%x=%b" % (register.number, digits))
        self._stub.registers_change()
        if reply != b"OK":
            raise TargetError(f"the stub refused to write {register.name}")

    def _read(self, register: Register) -> int:
        what = f"the value of {register.name}"
        reply = self._stub.ask(b"p%x" % register.number)
        if len(reply) != 2 * register.size:
            raise garbage(what, reply)
        return int.from_bytes(parse_hex(reply, what), "little")

    def _names(self) -> str:
        general = self._stub.description.registers[:16]
        return ", ".join(register.name for register in general) + ", ..."
