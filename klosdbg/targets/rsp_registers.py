"""Registers through a GDB stub: the monitor's ``info registers``, which names the hidden parts."""

import re
from collections.abc import Collection

from klosdbg.errors import TargetError, TargetLost
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.wire.rsp_replies import garbage, parse_hex
from klosdbg.wire.target_xml import Register
from klosdbg.x86.cpu import Cpu

_SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
_HEADING = re.compile(r"^CPU#(\d+)[ \t]*$\n?", re.MULTILINE)


class RspRegisters:
    """The registers of a stopped guest, read once a stop."""

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub

    def read(self) -> Cpu:
        """Read every register, hidden parts included, of the processor that stopped."""
        self._stub.require_stopped()
        if self._stub.cpu is None:
            self._stub.cpu = self._read()
        return self._stub.cpu

    def read_general(self, names: Collection[str] = ()) -> dict[str, int]:
        """Read what ``g`` holds, by GDB's names, or only these: quicker, and less."""
        return self._stub.description.decode(self._stub.ask(b"g"), names)

    def read_processors(self) -> tuple[int, list[Cpu]]:
        """Read every processor's registers; the number, from 0, is that of the one that stopped."""
        _, *parts = _HEADING.split(self._stub.monitor("info registers -a"))
        cpus = [parse_info_registers(dump) for dump in parts[1::2]]
        stopped = self._stub.stopped_thread - 1
        if [int(number) for number in parts[::2]] != [*range(len(cpus))] or stopped >= len(cpus):
            raise TargetLost(f"QEMU shows no registers of CPU {stopped}: attach again")
        return stopped, cpus

    def _read(self) -> Cpu:
        if self._stub.threads == 1:
            return parse_info_registers(self._stub.monitor("info registers"))
        stopped, cpus = self.read_processors()
        return cpus[stopped]


class RspRegisterWriter:
    """Registers of a stopped guest, written one by one."""

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub

    def write(self, name: str, value: int) -> None:
        """Write one register; a selector is loaded again even when it holds the value already.

        QEMU loads the hidden part without the processor's checks, and ignores a selector beyond its
        table; both it and a value that does not stick raise ``TargetError``.
        """
        register = self._stub.description.find(name)
        if register is None:
            raise TargetError(f"the stub cannot write {name!r}; it knows {self._names()}")
        if not 0 <= value < 1 << register.bits:
            raise TargetError(f"{value:#x} does not fit {name}, which has {register.bits} bits")
        if name in _SELECTORS and self._read(register) == value:
            self._write(register, 0 if value else 3)
        self._write(register, value)
        if self._read(register) != value:
            raise TargetError(f"{name} did not take {value:#x}: QEMU refuses it in this state")

    def _write(self, register: Register, value: int) -> None:
        digits = value.to_bytes(register.size, "little").hex().encode()
        reply = self._stub.ask(b"P%x=%b" % (register.number, digits))
        self._stub.forget_registers()
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
