"""A target inside gdb: the guest that gdb debugs, over gdb's own connection and commands."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gdb

from klosdbg.errors import MemoryFault, TargetError, TargetTimeout
from klosdbg.ports import StopEvent, StopReason, Target
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.wire.rsp_replies import parse_hex
from klosdbg.wire.symbols import Image, SymbolTable
from klosdbg.x86.cpu import Cpu

_CHUNK = 0x400
_AGAIN = 0.25
_NO_GUEST = "gdb is not connected to a guest: 'target remote' first"
_REASONS: dict[str, StopReason] = {"SIGINT": "interrupt", "SIGQUIT": "shutdown"}
_SIGNALS = {"interrupt": 2, "shutdown": 3}
_ELF = b"\x7fELF"


def in_gdb() -> Target:
    """Make a target of what gdb is connected to; each port asks gdb anew."""
    registers = GdbRegisters()
    return Target(
        name="gdb's target",
        registers=registers,
        linear=GdbMemory(),
        physical=GdbPhysicalMemory(),
        linear_writer=GdbMemoryWriter(),
        register_writer=GdbRegisterWriter(registers.forget),
        control=GdbControl(registers),
        monitor=GdbMonitor(),
    )


def address_bits() -> int:
    """Give the width of the widest linear address of what gdb debugs now."""
    return 64 if "x86-64" in gdb.selected_inferior().architecture().name() else 32


def shows_linear_pc() -> bool:
    """Tell whether gdb's pc is CS base + EIP, as klosdbg's server shows it, and not EIP."""
    return "eip_offset" in _register_names()


def symbols_in_gdb() -> SymbolTable:
    """Take the symbols of the files that gdb has loaded."""
    return SymbolTable(tuple(_images()))


def _images() -> Iterator[Image]:
    for objfile in gdb.objfiles():
        path = Path(objfile.filename or "")
        if path.is_file():
            raw = path.read_bytes()
            if raw.startswith(_ELF):
                yield Image(raw, str(path))


def _register_names() -> set[str]:
    return {register.name for register in gdb.selected_inferior().architecture().registers()}


def _execute(command: str) -> str:
    try:
        said: str = gdb.execute(command, to_string=True)
    except gdb.error as error:
        if "monitor" in command or "not being run" in str(error):
            raise TargetError(_NO_GUEST) from None
        raise TargetError(f"gdb cannot {command.split()[0]}: {error}") from None
    return said


class GdbMonitor:
    """The emulator's monitor, or what the server lets through of it."""

    def command(self, text: str) -> str:
        """Run one monitor command and return what it printed."""
        return _execute(f"monitor {text}").replace("\r\n", "\n")


class GdbRegisters:
    """The processor's registers by the monitor's ``info registers``, read once a command."""

    def __init__(self) -> None:
        self._cpu: Cpu | None = None

    def read(self) -> Cpu:
        """Read every register, hidden parts included."""
        if self._cpu is None:
            self._cpu = parse_info_registers(GdbMonitor().command("info registers"))
        return self._cpu

    def forget(self) -> None:
        """Drop what was read."""
        self._cpu = None


class GdbRegisterWriter:
    """Registers, written as gdb writes them."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget

    def write(self, name: str, value: int) -> None:
        """Write one register by its lower-case SDM name, or raise ``TargetError``."""
        known = _register_names()
        own = f"{name}_offset" if f"{name}_offset" in known else name
        if own not in known:
            raise TargetError(f"gdb cannot write {name!r}: 'info registers all' lists what it can")
        _execute(f"set var ${own} = {value}")
        self._forget()


class GdbMemory:
    """Linear memory, as gdb reads it."""

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size)) if size else b""
        except (gdb.error, OverflowError):
            raise MemoryFault("linear", address, size) from None

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        return [_or_none(self.read, address, size) for address, size in requests]


class GdbMemoryWriter:
    """Linear memory, as gdb writes it."""

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``, or raise ``MemoryFault``."""
        try:
            gdb.selected_inferior().write_memory(address, data)
        except gdb.error:
            raise MemoryFault("linear", address, len(data), "write") from None


class GdbPhysicalMemory:
    """Physical memory, by packets that gdb itself never sends; its own mode is left as it was."""

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        data = self.read_many([(address, size)])[0]
        if data is None:
            raise MemoryFault("physical", address, size)
        return data

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults.

        Raise ``TargetError`` where gdb's target cannot do so.
        """
        send = _packets()
        if send(b"Qqemu.PhyMemMode:1") != b"OK":
            raise TargetError("gdb's target has no physical memory to read")
        try:
            return [_read_packets(send, address, size) for address, size in requests]
        finally:
            send(b"Qqemu.PhyMemMode:0")


def _packets() -> Callable[[bytes], bytes]:
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is None or not hasattr(connection, "send_packet"):
        raise TargetError(f"no physical memory: {_NO_GUEST}")

    def send(packet: bytes) -> bytes:
        try:
            return connection.send_packet(packet) or b""
        except gdb.error as error:
            raise TargetError(f"gdb's connection failed: {error}") from None

    return send


def _read_packets(send: Callable[[bytes], bytes], address: int, size: int) -> bytes | None:
    found = b""
    while len(found) < size:
        reply = send(b"m%x,%x" % (address + len(found), min(_CHUNK, size - len(found))))
        if not reply or reply.startswith(b"E"):
            return None
        found += parse_hex(reply, "physical memory")
    return found


def _or_none(read: Callable[[int, int], bytes], address: int, size: int) -> bytes | None:
    try:
        return read(address, size)
    except MemoryFault:
        return None


@contextmanager
def _interrupting(seconds: float | None) -> Iterator[list[bool]]:
    """Interrupt what gdb runs meanwhile after some seconds; the list then holds something."""
    interrupted: list[bool] = []
    if seconds is None:
        yield interrupted
        return
    runs = True

    def interrupt() -> None:
        if runs:
            thread = gdb.selected_thread()
            if thread is not None and thread.is_running():
                interrupted.append(True)
                gdb.execute("interrupt")
            # One that comes while gdb steps off a breakpoint is lost.
            _later(_AGAIN, interrupt)

    _later(seconds, interrupt)
    try:
        with _silenced():
            yield interrupted
    finally:
        runs = False


def _later(seconds: float, do: Callable[[], None]) -> None:
    """Let gdb do something after some seconds, between two events of its own."""
    timer = threading.Timer(seconds, lambda: gdb.post_event(do))
    timer.daemon = True
    # gdb's signals, Ctrl-C among them, are its main thread's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    timer.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _silenced() -> Iterator[None]:
    """Let gdb print nothing: whatever its settings, it tells a stop by a signal."""
    gdb.flush()
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        gdb.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let gdb say nothing of a stop that klosdbg describes."""
    try:
        gdb.execute("set suppress-cli-notifications on")
    except gdb.error:
        yield
        return
    try:
        yield
    finally:
        gdb.execute("set suppress-cli-notifications off")


class GdbControl:
    """Resuming and stopping by gdb's own commands, which return when the guest has stopped.

    So the guest runs in ``wait`` alone. When its time is over the guest is stopped, and counts as
    running until it is waited for again, or interrupted.
    """

    def __init__(self, registers: GdbRegisters) -> None:
        self._registers = registers
        self._wanted: Counter[int] = Counter()
        self._set: dict[int, Any] = {}
        self._last = StopEvent("interrupt", 2)
        self._seen: Any = None
        self._runs = False
        gdb.events.stop.connect(self._note)

    @property
    def running(self) -> bool:
        """Tell whether the guest is to run, once it is waited for."""
        return self._runs

    def resume(self) -> None:
        """Let the guest run when it is waited for."""
        self._runs = True

    def wait(self, timeout: float | None) -> StopEvent:
        """Let the guest run until it stops; raise ``TargetTimeout`` after ``timeout`` seconds."""
        if self._runs:
            self._last = self._run_on(timeout)
            self._runs = False
        return self._last

    def _run_on(self, timeout: float | None) -> StopEvent:
        if self._registers.read().linear_pc in self._set:
            event = self._run("stepi", "step")
            if event.reason != "step":
                return event
        with _interrupting(timeout) as ended:
            event = self._run("continue", "breakpoint")
        if ended and event.reason == "interrupt":
            raise TargetTimeout(f"the guest did not stop within {timeout:g} s")
        return event

    def step(self) -> StopEvent:
        """Execute one instruction."""
        self._last = self._run("stepi", "step")
        return self._last

    def interrupt(self) -> StopEvent:
        """Stop the guest, or say how the last run ended."""
        if self._runs:
            self._runs, self._last = False, StopEvent("interrupt", 2)
        return self._last

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""
        self._wanted[address] += 1
        if address not in self._set:
            self._set[address] = gdb.Breakpoint(f"*{address:#x}", internal=True)
            self._set[address].silent = True

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint; raise ``TargetError`` where there is none."""
        if self._wanted[address] <= 0:
            raise TargetError(f"there is no breakpoint at {address:#010x}")
        self._wanted[address] -= 1
        if not self._wanted[address]:
            self._set.pop(address).delete()

    def reset(self) -> StopEvent:
        """Raise ``TargetError``: gdb keeps what it knows of the guest over a reset."""
        raise TargetError("gdb cannot reset the guest: 'monitor system_reset' does, on QEMU itself")

    def _run(self, command: str, otherwise: StopReason) -> StopEvent:
        self._registers.forget()
        self._seen = None
        with _quiet():
            _execute(command)
        signal = getattr(self._seen, "stop_signal", "")
        reason = _REASONS.get(signal, otherwise)
        if reason == "step" and isinstance(self._seen, gdb.BreakpointEvent):
            reason = "breakpoint"
        return StopEvent(reason, _SIGNALS.get(reason, 5))

    def _note(self, event: Any) -> None:
        self._seen = event
        self._registers.forget()
