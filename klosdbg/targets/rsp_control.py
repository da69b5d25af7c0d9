"""Run control through a GDB stub: breakpoints at linear addresses, steps, stops."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from klosdbg.errors import TargetError, TargetLost, TargetTimeout
from klosdbg.interrupts import interrupts_deferred
from klosdbg.ports import Memory, StopEvent, StopReason
from klosdbg.targets.qemu_dialect import QemuDialect, QemuMachine
from klosdbg.targets.rsp_link import REPLY_TIMEOUT
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.rsp_replies import StopReply
from klosdbg.x86.cpu import Cpu

_SIGINT, _SIGQUIT, _SIGTRAP = 2, 3, 5
_IF, _VM, _PE = 1 << 9, 1 << 17, 1
_HLT = b"\xf4"
_STEP_PATIENCE = 1.0
_AT_ONCE = 0.1
_STEP_TRIES = (False, True, True, False, True, True, False)
"""Whether the other processors stand still where one waits. What disturbed its step may be on its
way yet, and they would send more; or it was nothing, and has to come from them."""
_BACK_PATIENCE = 120.0


class RspControl:
    """Resume and stop the guest.

    Breakpoints are kept here and reach the stub with the next resume, in one write with it: QEMU's
    stub would stop a guest that runs, and moving a breakpoint away from under the program counter
    and back costs no stop.

    Of several processors one steps, while the others stand still unless it waits for them. A stop
    is that of the processor that the stub names: another one's breakpoint is no step.
    """

    def __init__(
        self,
        stub: RspStub,
        dialect: QemuDialect,
        machine: QemuMachine,
        linear: Memory,
        read_cpu: Callable[[], Cpu],
    ) -> None:
        self._stub = stub
        self._dialect = dialect
        self._machine = machine
        self._linear = linear
        self._read_cpu = read_cpu
        self._wanted: Counter[int] = Counter()
        self._armed: frozenset[int] = frozenset()
        self._action = b""
        self._stepping: int | None = None
        self._unfinished: set[int] = set()
        self._among: tuple[int, frozenset[int]] = (-1, frozenset())
        self._last = self._event("interrupt", _SIGINT)
        if dialect.found_state == "shutdown":
            self._last = self._event("shutdown", _SIGQUIT)

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""
        return self._runs()

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""
        with interrupts_deferred:
            self._require_alive()
            self._machine.about_to_run()
            if self._at_breakpoint() and self.step().reason != "step":
                return
            self._go()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop; raise ``TargetTimeout`` after ``timeout`` seconds.

        Where it is stopped, say at once why, once more.
        """
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
        QEMU ends a step that it is disturbed in before it begins, by an interrupt that arrives and
        is still to be taken: where no register changed, step once more. An instruction that changes
        none jumps to itself, so that does no harm.
        """
        self._require_alive()
        thread = self._stub.stopped_thread
        woken, woke = None, False
        for alone in _STEP_TRIES:
            before = self._stub.ask(b"g")
            woken = woken if woke else self._woken_at(before)
            event = self._step() if woken is None else self._step_awake(alone=alone or woke)
            if event.reason == "interrupt" and self._is_delayed(thread):
                event = self._last = self._event("step", _SIGTRAP)
            if event.reason == "interrupt" and woken is not None and alone:
                continue  # nothing was on its way
            woke = event.reason == "step" and self._only_woke(woken)
            if event.reason != "step" or not (woke or self._stub.ask(b"g") == before):
                break
        return event

    def interrupt(self) -> StopEvent:
        """Stop a running guest, or raise ``TargetLost``; a stopped one stays as it is."""
        if self._runs():
            self._stub.link.send_interrupt()
            if not self._stub.link.wait_stop(REPLY_TIMEOUT):
                raise TargetLost(f"the guest did not stop in {REPLY_TIMEOUT:g} s: is QEMU hung?")
            return self._or_breakpoint(self._take_stop())
        return self.wait(0)

    def stands_at(self, pc: int) -> None:
        """Take it from who has read the registers where the stopped guest stands."""
        self._among = self._stub.changes, frozenset((pc,))

    def _or_breakpoint(self, event: StopEvent) -> StopEvent:
        """Tell of the breakpoint where QEMU tells of the interrupt that came together with it.

        The next ``resume`` would step off it, and nobody would have heard of it.
        """
        interrupted = event.reason == "interrupt" and self._stepping is None
        if interrupted and self._armed and self._read_cpu().linear_pc in self._armed:
            self._last = self._event("breakpoint", _SIGTRAP)
        return self._last

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""
        self._require_stopped("set a breakpoint")
        self._wanted[address] += 1

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint; raise ``TargetError`` where there is none."""
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
        self._stepping = self._stub.stopped_thread
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
            self._run([], action, None)

    def _wait_back(self) -> StopEvent:
        if not self._stub.link.wait_stop(_BACK_PATIENCE):
            raise TargetLost(f"the guest did not go back in {_BACK_PATIENCE:g} s: is it hung?")
        return self._take_stop()

    def reset(self) -> StopEvent:
        """Reset the machine and stop at its first instruction; breakpoints stay.

        Raise ``TargetError`` where it does not begin anew.
        """
        self.interrupt()
        self._machine.reset()
        self._last = self._event("interrupt", _SIGINT)
        return self._last

    def _runs(self) -> bool:
        return self._stub.resumed and not self._has_stopped(0)

    def _has_stopped(self, timeout: float | None) -> bool:
        while self._stub.link.wait_stop(timeout):
            if not self._is_nobodys():
                return True
            with interrupts_deferred:
                self._take_stop()
                self._stub.resume([], self._action)
        return False

    def _is_nobodys(self) -> bool:
        """Tell whether the stop that has arrived is the firmware's, or the end of an old step."""
        by_firmware = self._stepping is None and self._machine.resets_itself()
        return by_firmware or self._ends_old_step()

    def _ends_old_step(self) -> bool:
        """Tell whether it is the step of a processor that another one's stop came before.

        QEMU goes on with that step whenever the processor runs next.
        """
        if self._stub.stopped_thread not in self._unfinished:
            return False
        arrived = self._stub.next_stop
        trapped = arrived is not None and arrived.code == _SIGTRAP and not arrived.watch
        return trapped and self._read_cpu().linear_pc not in self._armed

    def leave(self) -> None:
        """Take every breakpoint out of the stub and leave the guest as it was found."""
        self.interrupt()
        taken = [b"z0,%x,1" % address for address in sorted(self._armed)]
        self._stub.leave([*taken, *self._dialect.put_back()])

    def _step(self, patience: float | None = None, *, alone: bool = True) -> StopEvent:
        with interrupts_deferred:
            action = self._stub.step_action(alone=alone)
            self._run(self._uncover(), action, self._stub.stopped_thread)
            arrived = self._has_stopped(_STEP_PATIENCE if patience is None else patience)
            return self._take_stop() if arrived else self.interrupt()

    def _uncover(self) -> list[bytes]:
        """Take away what a step would stop at before it begins; the next resume puts it back."""
        if self._dialect.steps_off_breakpoints or not self._armed:
            return []
        here = self._armed & {self._read_cpu().linear_pc}
        self._armed -= here
        return [b"z0,%x,1" % address for address in here]

    def _step_awake(self, *, alone: bool) -> StopEvent:
        """Step while interrupts come, those that the other processors send as well.

        ``alone``: one that is on its way already comes at once, if any.
        """
        self._dialect.let_interrupts_in(True)
        try:
            return self._step(_AT_ONCE if alone else None, alone=alone)
        finally:
            self._dialect.let_interrupts_in(False)

    def _is_delayed(self, thread: int) -> bool:
        """Tell whether the host was busy: the instruction is none that waits."""
        return self._stub.stopped_thread == thread and not self._read_cpu().hlt

    def _only_woke(self, woken: int | None) -> bool:
        """Tell whether QEMU ended the step when the interrupt came that is still to be taken."""
        if woken is None:
            return False
        cpu = self._read_cpu()
        return cpu.linear_pc == woken and not cpu.hlt

    def _woken_at(self, general: bytes) -> int | None:
        """Say what is behind the ``hlt`` that the processor is at or in, if interrupts end it."""
        known = self._stub.description.decode(general, ("cs", "eflags", "cr0"))
        cpl = known.get("cs", 0) & 3 if known.get("cr0", _PE) & _PE else 0
        if cpl or known.get("eflags", 0) & (_IF | _VM) != _IF:
            return None
        cpu = self._read_cpu()
        if cpu.hlt:
            return cpu.linear_pc
        at_halt = self._linear.read_many([(cpu.linear_pc, 1)]) == [_HLT]
        return cpu.linear_pc + 1 if at_halt else None

    def _take_stop(self) -> StopEvent:
        with interrupts_deferred:
            by_firmware, is_old = self._machine.resets_itself(), self._ends_old_step()
            event = self._note(self._stub.take_stop(), is_old)
            return self._reset_again() if by_firmware else event

    def _reset_again(self) -> StopEvent:
        self._machine.reset_again()
        steps = self._stepping is not None
        self._last = self._event("step", _SIGTRAP) if steps else self._event("interrupt", _SIGINT)
        return self._last

    def _run(self, before: Sequence[bytes], action: bytes, stepping: int | None) -> list[bytes]:
        replies = self._stub.resume(before, action)
        self._action, self._stepping = action, stepping
        return replies

    def _go(self) -> None:
        wanted = frozenset(self._wanted)
        packets, addresses = _changes(self._armed, wanted)
        replies = self._run(packets, b"c", None)
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
        since, among = self._among
        if since == self._stub.changes:
            if among.isdisjoint(self._wanted):
                return False
            if among <= self._wanted.keys():
                return True
        return self._read_cpu().linear_pc in self._wanted

    def _note(self, reply: StopReply, ends_old_step: bool) -> StopEvent:
        thread = self._stub.stopped_thread
        if self._stepping is not None and self._stepping != thread:
            self._unfinished.add(self._stepping)
        self._unfinished.discard(thread)
        reason = "interrupt" if ends_old_step else self._reason(reply)
        self._last = self._event(reason, reply.code, reply.watch_address)
        if reason == "breakpoint":
            self._among = self._stub.changes, self._armed
        return self._last

    def _event(self, reason: StopReason, signal: int, address: int | None = None) -> StopEvent:
        several = len(self._stub.threads) > 1
        processor = self._stub.stopped_processor if several else None
        return StopEvent(reason, signal, address, processor)

    def _reason(self, reply: StopReply) -> StopReason:
        if self._machine.is_shut_down(reply):
            return "shutdown"
        if reply.watch:
            return "watchpoint"
        if reply.code == _SIGTRAP:
            return "step" if self._stepping == self._stub.stopped_thread else "breakpoint"
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
