"""Calling the guest's own relocation, at the entry of its timer handler, where that is safe.

There DS, ES and SS are DSOS, interrupts are off and nothing else is half done. Registers are
restored afterwards, but not DS, ES and SS, which the relocation itself loads anew.
"""

import time

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.constants import Cause
from klosdbg.klos.find import booted_klos, read_numbers
from klosdbg.ports import MemoryWriter, RegisterWriter, RunControl, Symbols, Target
from klosdbg.x86.cpu import GPR32, Cpu

FUNCTION = "dsos_relocate"
_ESP0 = 4
_RESTORED = (*GPR32, "eip", "eflags")


def call_relocate(
    target: Target, symbols: Symbols | None, count: int, timeout: float | None
) -> tuple[str, ...]:
    """Call ``dsos_relocate`` so many times; return what was written, in words.

    Raises ``CommandError`` where the function is not known, or the guest does not get there.
    """
    control, memory, registers = target.control, target.linear_writer, target.register_writer
    if control is None or memory is None or registers is None:
        raise CommandError(f"{target.name} cannot run: nothing there can be called")
    function = symbols.address(FUNCTION) if symbols else None
    if function is None:
        raise CommandError(f"no symbol {FUNCTION!r} to call: give the image with --symbols")
    info = booted_klos(target, symbols).info
    handlers = read_numbers(target, info.handlers, 4, "handlers")
    if info.irq_vector >= len(handlers):
        raise CommandError(f"no handler of vector {info.irq_vector}, the timer's: see 'handlers'")
    handler = handlers[info.irq_vector]
    call = _Call(target, symbols, control, memory, registers, function, handler, timeout)
    control.insert(handler)
    try:
        call.reach_handler()
        for _ in range(count):
            call.once()
    finally:
        control.remove(handler)
    return (f"esp, eip and the stack below for each call of {function:#010x}; then all restored",)


class _Call:
    def __init__(
        self,
        target: Target,
        symbols: Symbols | None,
        control: RunControl,
        memory: MemoryWriter,
        registers: RegisterWriter,
        function: int,
        handler: int,
        timeout: float | None,
    ) -> None:
        self._target, self._symbols, self._control = target, symbols, control
        self._memory, self._registers = memory, registers
        self._function, self._handler, self._timeout = function, handler, timeout

    def reach_handler(self) -> None:
        """Run to the timer's handler, for an event that interrupted no other."""
        start = time.monotonic()
        while True:
            self._run("the timer's handler was not reached")
            info = self._info()
            if info.event_depth == 1 and not info.sequence % 2:
                return
            if self._timeout is not None and time.monotonic() - start > self._timeout:
                raise CommandError("no safe place to call from: events nest without end")

    def once(self) -> None:
        """Call the relocation and come back to where the guest stands."""
        before = self._target.registers.read()
        stack = before.gpr["esp"]
        words = (self._handler, self._frame(before), Cause.MAILBOX)
        pushed = b"".join(word.to_bytes(4, "little") for word in words)
        self._memory.write(stack - len(pushed), pushed)
        self._registers.write("esp", stack - len(pushed))
        self._registers.write("eip", self._function)
        try:
            self._run("the relocation did not return")
        finally:
            self._restore(before)

    def _restore(self, before: Cpu) -> None:
        if not self._control.running:
            now, wanted = _general(self._target.registers.read()), _general(before)
            for name in _RESTORED:
                if now[name] != wanted[name]:
                    self._registers.write(name, wanted[name])

    def _frame(self, cpu: Cpu) -> int:
        """Give the frame of this event, which both TSS.ESP0 and the handler's argument name."""
        info = self._info()
        frame = self._word(info.tss + _ESP0)
        if self._word(cpu.gpr["esp"] + 4) != frame:
            raise CommandError(
                "not at the entry of a handler: its argument is not the saved frame ('bt' shows it)"
            )
        return frame

    def _word(self, address: int) -> int:
        return int.from_bytes(self._target.linear.read(address, 4), "little")

    def _info(self) -> KlosInfo:
        return booted_klos(self._target, self._symbols).info

    def _run(self, missed: str) -> None:
        self._control.resume()
        try:
            event = self._control.wait(self._timeout)
        except (TargetTimeout, KeyboardInterrupt) as error:
            self._control.interrupt()
            if isinstance(error, KeyboardInterrupt):
                raise
            raise CommandError(f"{missed} within {self._timeout:g} s") from None
        if self._target.registers.read().linear_pc != self._handler:
            raise CommandError(f"{missed}: the guest stopped before ({event.reason}), 'c' goes on")


def _general(cpu: Cpu) -> dict[str, int]:
    return {**cpu.gpr, "eip": cpu.eip, "eflags": cpu.eflags}
