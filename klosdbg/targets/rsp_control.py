"""Run control through a GDB stub: breakpoints at linear addresses, steps, stops."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from klosdbg.errors import TargetError, TargetLost, TargetTimeout
from klosdbg.interrupts import interrupts_deferred
from klosdbg.ports import StopEvent, StopReason
from klosdbg.targets.rsp_link import REPLY_TIMEOUT
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.rsp_replies import StopReply, parse_stop
from klosdbg.x86.cpu import Cpu

_SIGINT, _SIGQUIT, _SIGTRAP = 2, 3, 5
_INTERRUPTED, _STEPPED = StopEvent("interrupt", _SIGINT), StopEvent("step", _SIGTRAP)
_IF, _VM, _PE = 1 << 9, 1 << 17, 1
_HLT = b"f4"
_STEP_PATIENCE = 1.0
_STEP_TRIES = 4
_BACK_PATIENCE = 120.0
_FIRMWARE = (range(0xC0000, 0x100000), range(0xFF000000, 1 << 32))


class Resets(Protocol):
    """Resets a machine whose resets are shut-downs."""

    def reset(self) -> None:
        """Reset it; the next reset is a shut-down again."""


class RspControl:
    """Resume and stop the guest.

    Breakpoints are kept here and reach the stub with the next resume, in one write with it: QEMU's
    stub would stop a guest that runs, and moving a breakpoint away from under the program counter
    and back costs no stop.

    SeaBIOS that finds itself in RAM answers a reset with one of its own, which is none of the
    guest's: the first shut-down in firmware after a reset is one more reset, and no stop.
    """

    def __init__(
        self, stub: RspStub, read_cpu: Callable[[], Cpu], resets: Resets | None = None
    ) -> None:
        self._stub = stub
        self._read_cpu = read_cpu
        self._resets = resets
        self._firmware_resets = False
        self._wanted: Counter[int] = Counter()
        self._armed: frozenset[int] = frozenset()
        self._stepping = False
        self._last = _INTERRUPTED
        if stub.found_state == "shutdown":
            self._last = StopEvent("shutdown", _SIGQUIT)

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""
        return self._runs()

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""
        with interrupts_deferred:
            self._require_alive()
            self._firmware_resets = self._firmware_resets and self._in_firmware()
            if self._at_breakpoint() and self.step().reason != "step":
                return
            self._go()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop; at once where it is stopped, and then say why once more."""
        if not self._stub.resumed:
            return self._last
        if not self._has_stopped(timeout):
            raise TargetTimeout(f"the guest still runs after {timeout:g} s")
        return self._take_stop()

    def step(self) -> StopEvent:
        """Execute one instruction; one that waits (``hlt``) is interrupted after a second.

        What ends the wait is the next thing that happens: it is let in, and the stop is at its
        first instruction. Steps keep interrupts away otherwise, and one over a ``hlt`` would go on
        behind it, where no system expects to be.
        QEMU ends a step that it is disturbed in before it begins: where no register changed, step
        once more. An instruction that changes none jumps to itself, so that does no harm.
        """
        self._require_alive()
        for _ in range(_STEP_TRIES):
            before = self._stub.ask(b"g")
            event = self._step_awake() if self._waits(before) else self._step()
            if event.reason == "interrupt" and not self._read_cpu().hlt:
                # Only a busy host takes a second for an instruction that waits for nothing.
                event = self._last = StopEvent("step", _SIGTRAP)
            if event.reason != "step" or self._stub.ask(b"g") != before:
                break
        return event

    def interrupt(self) -> StopEvent:
        """Stop a running guest; a stopped one stays as it is."""
        if self._runs():
            self._stub.link.send_interrupt()
            if not self._stub.link.wait_stop(REPLY_TIMEOUT):
                raise TargetLost(f"the guest did not stop in {REPLY_TIMEOUT:g} s: is QEMU hung?")
            return self._or_breakpoint(self._take_stop())
        return self.wait(0)

    def _or_breakpoint(self, event: StopEvent) -> StopEvent:
        """Tell of the breakpoint where QEMU tells of the interrupt that came together with it.

        The next ``resume`` would step off it, and nobody would have heard of it.
        """
        interrupted = event.reason == "interrupt" and not self._stepping
        if interrupted and self._armed and self._read_cpu().linear_pc in self._armed:
            self._last = StopEvent("breakpoint", _SIGTRAP)
        return self._last

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""
        self._require_stopped("set a breakpoint")
        self._wanted[address] += 1

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint."""
        self._require_stopped("remove a breakpoint")
        if self._wanted[address] <= 0:
            raise TargetError(f"there is no breakpoint at {address:#010x}")
        self._wanted[address] -= 1
        if not self._wanted[address]:
            del self._wanted[address]

    def step_back(self) -> StopEvent:
        """Go back one instruction. The emulator replays from the start, which may take seconds."""
        self._require_alive()
        self._go_back(b"bs", ())
        self._stepping = True
        return self._wait_back()

    def resume_back(self) -> None:
        """Let the guest run backwards, to a breakpoint or to where its recording began."""
        self._require_alive()
        wanted = frozenset(self._wanted)
        self._go_back(b"bc", _changes(self._armed, wanted)[0])
        self._armed = wanted

    def back_to_write(self, address: int, size: int) -> StopEvent:
        """Run backwards to the last write to a linear address, passing breakpoints."""
        self._require_alive()
        watch = b"2,%x,%x" % (address, size)
        taken = [b"z0,%x,1" % armed for armed in sorted(self._armed)]
        self._armed = frozenset()
        self._go_back(b"bc", (*taken, b"Z" + watch))
        stop = self._wait_back()
        self._stub.ask(b"z" + watch)
        return stop

    def _go_back(self, action: bytes, changes: tuple[bytes, ...]) -> None:
        """Send the changes first, then go: a stub that refuses one stays where it is."""
        for change in changes:
            if self._stub.ask(change) != b"OK":
                raise TargetError(f"the stub refused {change.decode()}: remove some breakpoints")
        with interrupts_deferred:
            self._stub.resume([], action)
            self._stepping = False

    def _wait_back(self) -> StopEvent:
        if not self._stub.link.wait_stop(_BACK_PATIENCE):
            raise TargetLost(f"the guest did not go back in {_BACK_PATIENCE:g} s: is it hung?")
        return self._take_stop()

    def reset(self) -> StopEvent:
        """Reset the machine and stop at its first instruction; breakpoints stay."""
        self.interrupt()
        self._stub.monitor("system_reset")
        self._stub.forget_registers()
        if self._resets and self._stub.run_state() != "prelaunch":
            self._resets.reset()
            self._firmware_resets = True
        if self._stub.run_state() != "prelaunch":
            raise TargetError("this QEMU shuts down instead of a reset: attach with --qmp as well")
        self._last = _INTERRUPTED
        return self._last

    def _runs(self) -> bool:
        return self._stub.resumed and not self._has_stopped(0)

    def _has_stopped(self, timeout: float | None) -> bool:
        while self._stub.link.wait_stop(timeout):
            if self._stepping or not self._is_firmware_reset():
                return True
            with interrupts_deferred:
                self._take_stop()
                self._stub.resume([], b"c")
        return False

    def _is_firmware_reset(self) -> bool:
        """Tell whether the stop that has arrived is the reset that firmware makes after one."""
        arrived = self._stub.link.next_stop if self._firmware_resets else None
        shut_down = arrived is not None and self._reason(parse_stop(arrived)) == "shutdown"
        return shut_down and self._in_firmware()

    def _in_firmware(self) -> bool:
        pc = self._read_cpu().linear_pc
        return any(pc in firmware for firmware in _FIRMWARE)

    def leave(self) -> None:
        """Take every breakpoint out of the stub and leave the guest as it was found."""
        self.interrupt()
        self._stub.leave(sorted(self._armed))

    def _step(self) -> StopEvent:
        with interrupts_deferred:
            self._stub.resume([], b"s")
            self._stepping = True
            arrived = self._stub.link.wait_stop(_STEP_PATIENCE)
            return self._take_stop() if arrived else self.interrupt()

    def _step_awake(self) -> StopEvent:
        self._stub.let_interrupts_in(True)
        try:
            return self._step()
        finally:
            self._stub.let_interrupts_in(False)

    def _waits(self, general: bytes) -> bool:
        """Tell whether the processor is at or in a ``hlt`` that interrupts end."""
        known = self._stub.description.decode(general, ("cs", "eflags", "cr0"))
        cpl = known.get("cs", 0) & 3 if known.get("cr0", 0) & _PE else 0
        if cpl or known.get("eflags", 0) & (_IF | _VM) != _IF:
            return False
        cpu = self._read_cpu()
        return cpu.hlt or self._stub.ask_memory(False, [b"m%x,1" % cpu.linear_pc]) == [_HLT]

    def _take_stop(self) -> StopEvent:
        with interrupts_deferred:
            by_firmware = self._is_firmware_reset()
            event = self._note(parse_stop(self._stub.take_stop()))
            return self._reset_again() if by_firmware else event

    def _reset_again(self) -> StopEvent:
        assert self._resets is not None
        self._resets.reset()
        self._stub.forget_registers()
        self._firmware_resets = False
        self._last = _STEPPED if self._stepping else _INTERRUPTED
        return self._last

    def _go(self) -> None:
        wanted = frozenset(self._wanted)
        packets, addresses = _changes(self._armed, wanted)
        replies = self._stub.resume(packets, b"c")
        self._stepping = False
        self._armed = wanted
        if replies.count(b"OK") < len(replies):
            outcome = zip(addresses, replies, strict=True)
            self._refuse([address for address, reply in outcome if reply != b"OK"])

    def _refuse(self, refused: list[int]) -> None:
        self.interrupt()
        for address in refused:
            del self._wanted[address]
        self._armed -= frozenset(refused)
        shown = ", ".join(f"{address:#010x}" for address in refused)
        raise TargetError(f"the stub refused the breakpoint at {shown}: remove some others first")

    def _at_breakpoint(self) -> bool:
        if not self._wanted:
            return False
        among = self._stub.stopped_among
        if among is not None and among.isdisjoint(self._wanted):
            return False
        if among is not None and among <= self._wanted.keys():
            return True
        return self._read_cpu().linear_pc in self._wanted

    def _note(self, reply: StopReply) -> StopEvent:
        reason = self._reason(reply)
        self._last = StopEvent(reason, reply.code, reply.watch_address)
        if reply.thread and reply.thread.tid > 0:
            self._stub.stopped_thread = reply.thread.tid
        if reason == "breakpoint":
            self._stub.stopped_among = self._armed
        return self._last

    def _reason(self, reply: StopReply) -> StopReason:
        if reply.kind != "stopped" or reply.code == _SIGQUIT:
            return "shutdown"
        if reply.watch:
            return "watchpoint"
        if reply.code == _SIGTRAP:
            return "step" if self._stepping else "breakpoint"
        return "interrupt" if reply.code == _SIGINT else "signal"

    def _require_alive(self) -> None:
        self._require_stopped("let it run once more")
        last = self.wait(0) if self._stub.resumed else self._last
        if last.reason == "shutdown":
            raise TargetError("the guest has shut down: 'reset' starts it again")

    def _require_stopped(self, wish: str) -> None:
        if self._stub.resumed and self._stub.running:
            raise TargetError(f"the guest is running: interrupt it before you {wish}")


@lru_cache(maxsize=64)
def _changes(
    armed: frozenset[int], wanted: frozenset[int]
) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Make the packets that move breakpoints, and the address of each; a trace's alternate."""
    gone, new = sorted(armed - wanted), sorted(wanted - armed)
    packets = [b"z0,%x,1" % at for at in gone] + [b"Z0,%x,1" % at for at in new]
    return tuple(packets), (*gone, *new)
