"""What QEMU's stub understands beyond the remote serial protocol, all of it in one place.

Physical memory, steps that keep interrupts away, and a monitor: it names the hidden parts of
segment registers, the state that the machine is in, and it resets. Each is asked for: another stub
has none of it, and klosdbg's own server a part.
"""

import re
from collections.abc import Callable
from typing import Protocol

from klosdbg.errors import TargetError, TargetLost
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.inforegs import parse_info_registers
from klosdbg.wire.rsp_replies import StopReply, garbage, is_error
from klosdbg.x86.cpu import Cpu

_SIGQUIT = 3
_HEADING = re.compile(r"^CPU#(\d+)[ \t]*$\n?", re.MULTILINE)
_RUN_STATE = re.compile(r"VM status: (?P<state>[a-z]+)[^(]*(?:\((?P<why>[a-z-]+)\))?")
_STEP_MASK, _STEP_ALONE = 7, 1
"""Steps without interrupts and timers, and with both."""
_FIRMWARE = (range(0xC0000, 0x100000), range(0xFF000000, 1 << 32))


class Resets(Protocol):
    """Resets a machine whose resets are shut-downs."""

    def reset(self) -> None:
        """Reset it; the next reset is a shut-down again."""


class QemuDialect:
    """What a stub turned out to know of QEMU's dialect.

    ``has_monitor``: it has QEMU's monitor. ``found_state`` is the state that the guest was met in,
    by QEMU's name; empty where nobody told.
    """

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub
        self.found_state = self.run_state()
        self.has_monitor = self.found_state != ""
        self._found_physical = self._ask_physical_mode()
        self._physical = self._found_physical
        self._found_step_mask = self._ask_step_mask()
        if self._found_step_mask not in (None, _STEP_MASK):
            self._set_step_mask(_STEP_MASK)

    @property
    def has_physical(self) -> bool:
        """Tell whether the stub reads physical memory."""
        return self._found_physical is not None

    @property
    def steps_off_breakpoints(self) -> bool:
        """Tell whether a step passes a breakpoint that is set where it begins."""
        return self.has_monitor

    def ask_linear(self, payloads: list[bytes]) -> list[bytes]:
        """Send memory requests in one pipeline: their addresses are linear."""
        return self._ask_memory(False, payloads)

    def ask_physical(self, payloads: list[bytes]) -> list[bytes]:
        """Send memory requests in one pipeline: their addresses are physical."""
        return self._ask_memory(True, payloads)

    def let_interrupts_in(self, wanted: bool) -> None:
        """Let steps take interrupts, and timers run in them, or not; some stubs cannot choose."""
        if self._found_step_mask is not None:
            self._set_step_mask(_STEP_ALONE if wanted else _STEP_MASK)

    def run_state(self) -> str:
        """Return QEMU's name of the state of a stopped guest: ``paused``, ``prelaunch``, ...

        Empty where the stub has no monitor that knows.
        """
        told = _RUN_STATE.fullmatch(self._ask_monitor("info status"))
        return (told["why"] or told["state"]) if told else ""

    def stopped_silently(self) -> bool:
        """Tell whether connecting stopped the guest although the stub did not say so.

        QEMU's stub told stops that nobody waited for until the release whose monitor knows
        ``one-insn-per-tb``. A guest that was paused by hand cannot be told from one that ran.
        """
        if self.found_state != "paused" or self._stub.is_klosdbg:
            return False
        return self._ask_monitor("help one-insn-per-tb") != ""

    def read_registers(self) -> Cpu:
        """Read every register of the processor that stopped, hidden parts included."""
        if len(self._stub.threads) == 1:
            return parse_info_registers(self._stub.monitor("info registers"))
        stopped, cpus = self.read_processors()
        return cpus[stopped]

    def read_processors(self) -> tuple[int, list[Cpu]]:
        """Read every processor's registers; the number, from 0, is that of the one that stopped.

        Raise ``TargetLost`` where QEMU does not show that one.
        """
        _, *parts = _HEADING.split(self._stub.monitor("info registers -a"))
        cpus = [parse_info_registers(dump) for dump in parts[1::2]]
        stopped = self._stub.stopped_processor
        numbers = [int(number) for number in parts[::2]]
        if numbers != [*range(len(cpus))] or stopped is None or stopped >= len(cpus):
            raise TargetLost(
                f"QEMU shows no registers of thread {self._stub.stopped_thread}: attach again"
            )
        return stopped, cpus

    def put_back(self) -> list[bytes]:
        """Make the requests that leave the stub as it was found."""
        requests = []
        if self._found_physical is not None:
            requests.append(b"Qqemu.PhyMemMode:%d" % self._found_physical)
        if self._found_step_mask not in (None, _STEP_MASK):
            requests.append(b"Qqemu.sstep=%x" % self._found_step_mask)
        return requests

    def _ask_memory(self, physical: bool, payloads: list[bytes]) -> list[bytes]:
        if physical == bool(self._physical):
            return self._stub.ask_many(payloads)
        switch = b"Qqemu.PhyMemMode:%d" % physical
        first, *replies = self._stub.ask_many([switch, *payloads])
        if first != b"OK":
            raise TargetError(f"{self._stub.link.name} cannot read physical memory")
        self._physical = physical
        return replies

    def _ask_monitor(self, command: str) -> str:
        try:
            return self._stub.monitor(command).strip()
        except TargetLost:
            raise
        except TargetError:
            return ""

    def _ask_physical_mode(self) -> bool | None:
        reply = self._stub.ask(b"qqemu.PhyMemMode")
        return None if reply not in (b"0", b"1") else reply == b"1"

    def _ask_step_mask(self) -> int | None:
        reply = self._stub.ask(b"qqemu.sstep")
        if reply == b"" or is_error(reply):
            return None
        if not re.fullmatch(rb"(0x)?[0-9a-fA-F]{1,8}", reply):
            raise garbage("the single-step mask", reply)
        return int(reply, 16)

    def _set_step_mask(self, mask: int) -> None:
        self._stub.ask(b"Qqemu.sstep=%x" % mask)


class QemuMonitor:
    """QEMU's monitor, through a stopped stub. What begins with ``info`` changes nothing."""

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub

    def command(self, text: str) -> str:
        """Run one monitor command and return what it printed."""
        if not text.startswith("info "):
            self._stub.registers_change()
        return self._stub.monitor(text)


class QemuMachine:
    """The machine that the guest is in: it resets, and it shuts down.

    SeaBIOS that finds itself in RAM answers a reset with one of its own, which is none of the
    guest's: the first shut-down in firmware after a reset is one more reset, and no stop.
    """

    def __init__(
        self,
        stub: RspStub,
        dialect: QemuDialect,
        read_cpu: Callable[[], Cpu],
        resets: Resets | None,
    ) -> None:
        self._stub = stub
        self._dialect = dialect
        self._read_cpu = read_cpu
        self._resets = resets
        self._awaits_reset = False

    def is_shut_down(self, reply: StopReply) -> bool:
        """Tell whether a stop is the machine's end."""
        return reply.kind != "stopped" or (self._dialect.has_monitor and reply.code == _SIGQUIT)

    def reset(self) -> None:
        """Reset it, stopped at its first instruction, or raise ``TargetError``."""
        if not self._dialect.has_monitor:
            raise TargetError(f"{self._stub.link.name} cannot reset: its stub has no QEMU monitor")
        self._stub.monitor("system_reset")
        self._stub.registers_change()
        if self._resets and self._dialect.run_state() != "prelaunch":
            self._resets.reset()
            self._awaits_reset = True
        if self._dialect.run_state() != "prelaunch":
            raise TargetError("this QEMU shuts down instead of a reset: attach with --qmp as well")
        self._stub.choose_first()

    def about_to_run(self) -> None:
        """Note that the guest is let run: once out of the firmware, every reset is its own."""
        self._awaits_reset = self._awaits_reset and self._in_firmware()

    def resets_itself(self) -> bool:
        """Tell whether the stop that has arrived is the reset that firmware makes after one."""
        arrived = self._stub.next_stop if self._awaits_reset else None
        return arrived is not None and self.is_shut_down(arrived) and self._in_firmware()

    def reset_again(self) -> None:
        """Do what the firmware asked for."""
        assert self._resets is not None
        self._resets.reset()
        self._stub.registers_change()
        self._awaits_reset = False
        self._stub.choose_first()

    def _in_firmware(self) -> bool:
        pc = self._read_cpu().linear_pc
        return any(pc in firmware for firmware in _FIRMWARE)
