"""Running the guest for a session: until it stops, to an address, over calls, out of a function."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

from klosdbg.errors import CommandError, MemoryFault, TargetTimeout
from klosdbg.models import Stop
from klosdbg.ports import StopEvent
from klosdbg.read import read_cpu, read_instructions
from klosdbg.session import Breakpoint, Session
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.disasm import Instruction

_RUNS_ELSEWHERE = ("call", "lcall", "int", "into", "rep", "loop", "syscall", "sysenter")
_FAR_CALL = 0x9A
_RETURNS = ("ret", "lret", "retf", "iret")


def stop_here(session: Session, event: StopEvent) -> Stop:
    """Describe a stop: why, where, and the instruction to be executed next."""
    session.in_background = False
    cpu = read_cpu(session.target)
    hit = _hit(session, event, cpu.linear_pc)
    if hit:
        hit.hits += 1
    return Stop(
        reason="breakpoint" if hit else event.reason,
        cs=cpu.segments["cs"].selector,
        eip=cpu.eip,
        linear=cpu.linear_pc,
        cpl=cpu.cpl,
        symbol=session.symbol(cpu.linear_pc),
        breakpoint=hit.number if hit else None,
        instruction=_instruction(session, cpu),
        failure=_failure(event, cpu),
        halted=cpu.halted_for_good,
    )


def run_until_stop(session: Session) -> Stop:
    """Let the guest run until it stops; Ctrl-C stops it. One that runs already is waited for."""
    if not session.control.running:
        session.control.resume()
    return wait_for_stop(session)


def wait_for_stop(session: Session) -> Stop:
    """Wait until the running guest stops, or raise ``CommandError`` after the session's time-out.

    Ctrl-C stops it, and in batch ends the run as well.
    """
    try:
        return stop_here(session, session.control.wait(session.timeout))
    except KeyboardInterrupt:
        stop = stop_here(session, session.control.interrupt())
        if session.interactive:
            return stop
        raise
    except TargetTimeout:
        stop = stop_here(session, session.control.interrupt())
        raise CommandError(
            f"the guest did not stop within {session.timeout:g} s: it stood at {_place(stop)} "
            "(--timeout 0 waits for ever)"
        ) from None


def run_to(session: Session, address: int, missed: str, above_esp: int | None = None) -> Stop:
    """Run to a linear address; ``above_esp`` ignores deeper calls that pass there too.

    Stops early at another breakpoint; a time-out raises ``CommandError`` beginning with ``missed``.
    """
    control = session.control
    control.insert(address)
    session.awaited.add(address)
    try:
        while True:
            stop = run_until_stop(session)
            if stop.linear != address or stop.breakpoint is not None:
                return stop
            if above_esp is None or read_cpu(session.target).stack_pointer > above_esp:
                return stop
    except CommandError as error:
        raise CommandError(f"{missed}: {error}") from None
    finally:
        session.awaited.discard(address)
        if session.has_target:
            control.remove(address)


def step_instructions(session: Session, count: int) -> Stop:
    """Execute ``count`` instructions, into calls; fewer where something else stops the guest."""
    for left in _countdown(session, count):
        event = session.control.step()
        watched = session.breakpoints or session.tracer
        if left and event.reason == "step" and not watched:
            continue
        stop = stop_here(session, event)
        if stop.reason != "step":
            break
    return stop


def step_over_instructions(session: Session, count: int) -> Stop:
    """Execute ``count`` instructions, over calls; fewer where something else stops the guest."""
    for _ in _countdown(session, count):
        stop = step_over(session)
        if stop.reason != "step":
            break
    return stop


def _countdown(session: Session, count: int) -> Iterator[int]:
    """Count down to 0, as long as the session's time-out allows."""
    ends = _deadline(session)
    for left in reversed(range(count)):
        yield left
        if left:
            _check_time(session, ends, f"{count - left} of {count} instructions")


def _deadline(session: Session) -> float:
    return time.monotonic() + (session.timeout or math.inf)


def _check_time(session: Session, ends: float, what: str) -> None:
    if time.monotonic() > ends:
        place = _place(stop_here(session, session.control.wait(0)))
        raise CommandError(
            f"{what} took {session.timeout:g} s: the guest stands at {place} "
            "(--timeout 0 waits for ever)"
        )


def step_over(session: Session) -> Stop:
    """Execute one instruction, and what it calls, up to the instruction after it."""
    cpu = read_cpu(session.target)
    instruction = _instruction(session, cpu)
    if instruction is None or not instruction.mnemonic.startswith(_RUNS_ELSEWHERE):
        return stop_here(session, session.control.step())
    if _ends_event(session, instruction):
        return _step_out_of_core(session)
    after = cpu.linear_pc + instruction.size
    stop = run_to(
        session,
        after,
        "the call did not return ('s' goes into it)",
        above_esp=cpu.stack_pointer - 1,
    )
    return replace(stop, reason="step") if stop.linear == after else stop


def _ends_event(session: Session, instruction: Instruction) -> bool:
    """Tell whether this is the far call that ends an event, which never comes back to it."""
    if instruction.mnemonic != "lcall" or instruction.raw[0] != _FAR_CALL:
        return False
    return int.from_bytes(instruction.raw[-2:], "little") == session.system.event_gate


def _step_out_of_core(session: Session) -> Stop:
    """Execute the event core up to the program that it resumes, or its ``hlt``."""
    ends = _deadline(session)
    while True:
        _check_time(session, ends, "the way out of the event core")
        stop = stop_here(session, session.control.step())
        halts = stop.instruction is not None and stop.instruction.mnemonic == "hlt"
        if stop.reason != "step" or stop.cpl == 3 or halts:
            return stop


def finish_frame(session: Session) -> Stop:
    """Run until the current function has returned to its caller."""
    cpu = read_cpu(session.target)
    rule = session.symbols.frame(cpu.linear_pc) if session.symbols else None
    if rule is None or rule[0] not in cpu.gpr:
        return _step_out(session)
    register, offset = rule
    frame = cpu.gpr[register] + offset
    stack = cpu.segments["ss"].base + frame - 4
    caller = int.from_bytes(session.target.linear.read(stack, 4), "little")
    return run_to(
        session, cpu.segments["cs"].base + caller, "the function did not return", frame - 1
    )


def _step_out(session: Session) -> Stop:
    start = read_cpu(session.target).stack_pointer
    ends = _deadline(session)
    while True:
        _check_time(session, ends, "the way to a return")
        cpu = read_cpu(session.target)
        instruction = _instruction(session, cpu)
        returns = instruction is not None and instruction.mnemonic.startswith(_RETURNS)
        if returns and cpu.stack_pointer >= start:
            return stop_here(session, session.control.step())
        stop = step_over(session)
        stays = stop.halted or stop.reason not in ("step", "breakpoint")
        if stays or stop.breakpoint is not None:
            return stop


def _hit(session: Session, event: StopEvent, linear: int) -> Breakpoint | None:
    if event.reason not in ("breakpoint", "step", "signal"):
        return None
    here = (b for b in session.breakpoints if b.address == linear)
    return next((b for b in here if b.holds()), None)


def _instruction(session: Session, cpu: Cpu) -> Instruction | None:
    try:
        return read_instructions(session.target, cpu.linear_pc, 1, cpu.code_bits)[0]
    except (MemoryFault, IndexError):
        return None


def _failure(event: StopEvent, cpu: Cpu) -> str | None:
    if event.reason != "shutdown":
        return None
    where = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
    return f"the guest shut down at {where} (triple fault, or it asked to): look, or 'reset' it"


def _place(stop: Stop) -> str:
    place = f"{stop.cs:04x}:{stop.eip:08x}"
    place += f" <{stop.symbol}>" if stop.symbol else ""
    return f"{place}, halted with interrupts off" if stop.halted else place
