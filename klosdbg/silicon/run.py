"""Running the guest instruction by instruction against the rules of hardware."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.ports import RunControl, Symbols, Target
from klosdbg.read import read_cpu, read_told
from klosdbg.silicon.code_cache import CodeCache
from klosdbg.silicon.deliver import deliver
from klosdbg.silicon.models import End, Refused, SiliconReport
from klosdbg.silicon.scope import Scope
from klosdbg.silicon.step_registers import StepRegisters
from klosdbg.x86.branch import linear_address
from klosdbg.x86.cpu import SEGMENTS, Cpu
from klosdbg.x86.delivery import Fault
from klosdbg.x86.descriptor import Gate, decode_gate
from klosdbg.x86.disasm import disassemble
from klosdbg.x86.silicon import AC, Verdict, Violation, judge
from klosdbg.x86.table import decode_ivt

_UD, _NM, _PF = 6, 7, 14
_VECTORS = 32
_PROGRESS_EVERY = 256
_SLICE = 0.2
_RETRANSLATE = ("invlpg", "lgdt", "lldt")


@dataclass(frozen=True, slots=True)
class Bounds:
    """When to end: after ``count`` instructions, at ``until``, after ``seconds``; None: never."""

    count: int | None = None
    until: int | None = None
    seconds: float | None = None


class SiliconRun:
    """One run; ``report`` tells what it has found so far, also after an exception ended it."""

    def __init__(
        self,
        target: Target,
        symbols: Symbols | None,
        bounds: Bounds,
        scope: Scope,
        *,
        delivers: bool = False,
        breakpoints: Collection[int] = (),
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        if target.control is None:
            raise CommandError(f"{target.name} cannot run: it is a recording")
        read_told(target, *SEGMENTS, "ldtr", "tr", "gdtr", "idtr")
        self._target, self._symbols, self._bounds = target, symbols, bounds
        self._scope = scope
        self._control: RunControl = target.control
        self._delivers, self._breakpoints = delivers, frozenset(breakpoints)
        self._progress = progress
        self._memory = CodeCache(target.linear)
        self._registers = StepRegisters(target)
        self._began = time.monotonic()
        self._refused: list[Refused] = []
        self._instructions = 0
        self._last: Violation | None = None
        self._shut_down = False
        self._armed: set[int] = set()

    def run(self) -> SiliconReport:
        """Run to an end; on Ctrl-C stop the guest, and report what was found."""
        try:
            return self._report(self._until_the_end())
        except KeyboardInterrupt:
            self._control.interrupt()
            return self._report("interrupt")
        except CommandError as error:
            return replace(self._report("count"), failure=str(error))
        finally:
            self._disarm()

    def _until_the_end(self) -> End:
        cpu = self._registers.read()
        end: End | None = "halted" if cpu.halted_for_good else None
        while end is None:
            if self._scope.holds(cpu):
                self._step(cpu)
            else:
                end = self._run_in()
            cpu = self._registers.read()
            end = end or self._end_at(cpu)
            if end is None and self._late():
                end = "time-out"
            if self._instructions % _PROGRESS_EVERY == 0:
                self._tell()
        return end

    def _end_at(self, cpu: Cpu) -> End | None:
        if self._shut_down:
            return "shutdown"
        if cpu.halted_for_good:
            return "halted"
        if cpu.linear_pc == self._bounds.until:
            return "until"
        if self._instructions == self._bounds.count:
            return "count"
        return "breakpoint" if cpu.linear_pc in self._breakpoints else None

    def _step(self, cpu: Cpu) -> None:
        """Judge one instruction, and execute it or take its exception."""
        self._instructions += 1
        verdict = judge(cpu, self._memory.code(cpu.linear_pc), self._memory.read)
        if verdict.violation is None:
            self._execute(cpu, verdict)
            self._last = None
        elif self._delivers and not _may_be_tried(verdict):
            self._note(cpu, verdict)
            self._deliver(cpu, verdict.violation)
        else:
            self._step_watched(cpu, verdict)
        if not self._scope.holds(self._registers.read()):
            self._scope.left(cpu.linear_pc, verdict.operation.size)

    def _execute(self, cpu: Cpu, verdict: Verdict) -> None:
        self._shut_down = self._control.step().reason == "shutdown"
        self._registers.executed(verdict.operation)
        self._forget(cpu, verdict)

    def _step_watched(self, cpu: Cpu, verdict: Verdict) -> None:
        """Execute what hardware would refuse, and act where the target does not refuse it too."""
        assert verdict.violation is not None
        handlers = self._handlers(cpu)
        self._execute(cpu, verdict)
        after = self._registers.read()
        landed = handlers.get((after.segments["cs"].selector & ~3, after.eip), frozenset())
        if landed & _instead(verdict.violation):
            return
        self._note(cpu, verdict)
        if self._delivers:
            self._deliver(cpu, verdict.violation)

    def _note(self, cpu: Cpu, verdict: Verdict) -> None:
        violation, operation = verdict.violation, verdict.operation
        assert violation is not None
        if self._goes_on(cpu, verdict):
            last = self._refused[-1]
            self._refused[-1] = replace(last, followed=last.followed + 1)
            return
        self._last = violation
        code = disassemble(operation.raw, cpu.linear_pc, cpu.code_bits, 1)
        self._refused.append(
            Refused(
                violation=violation,
                cs=cpu.segments["cs"].selector,
                eip=cpu.eip,
                linear=cpu.linear_pc,
                place=linear_address(cpu, verdict.accesses[-1]),
                cpl=cpu.cpl,
                symbol=self._symbols.name(cpu.linear_pc) if self._symbols else None,
                instruction=str(code[0]) if code else str(operation),
                raw=operation.raw,
            )
        )

    def _goes_on(self, cpu: Cpu, verdict: Verdict) -> bool:
        """Tell what only follows from the refusal before: code past the limit, a next element."""
        if self._last is None or verdict.violation is None or not self._refused:
            return False
        if verdict.operation.repeated and self._refused[-1].linear == cpu.linear_pc:
            return True
        rule = verdict.violation.rule
        return rule == self._last.rule == "code-limit" and verdict.violation.offset == cpu.eip

    def _deliver(self, cpu: Cpu, violation: Violation) -> None:
        self._last = None
        self._registers.forget()
        fault = Fault(violation.vector, violation.error_code, violation.resume)
        changes = deliver(self._target, cpu, fault, self._memory)
        self._refused[-1] = replace(self._refused[-1], delivered=changes)

    def _handlers(self, cpu: Cpu) -> dict[tuple[int, int], frozenset[int]]:
        """Map the entry points of exception handlers to the vectors that lead there."""
        real = cpu.mode in ("real", "unreal")
        step = 4 if real else 16 if cpu.long_mode else 8
        size = min(step * _VECTORS, cpu.idtr.limit + 1)
        raw = self._memory.read(cpu.idtr.base, size) or b""
        found: dict[tuple[int, int], frozenset[int]] = {}
        for vector in range(len(raw) // step):
            one = raw[step * vector : step * (vector + 1)]
            entry = decode_ivt(0, one).vectors[0] if real else _gate_entry(one, cpu.long_mode)
            if entry is not None:
                place = (entry[0] & ~3, entry[1])
                found[place] = found.get(place, frozenset()) | {vector}
        return found

    def _forget(self, cpu: Cpu, verdict: Verdict) -> None:
        """Drop what the cache holds of pages that the instruction wrote to."""
        name = verdict.operation.mnemonic
        if name.startswith(_RETRANSLATE) or ("cr" in verdict.operation.operands and name == "mov"):
            self._memory.clear()
        writes = [access for access in verdict.accesses if access.kind == "write"]
        places = [linear_address(cpu, access) for access in writes]
        self._memory.written(places)
        self._memory.written(
            place + access.size - 1 for place, access in zip(places, writes, strict=True)
        )

    def _run_in(self) -> End | None:
        """Let the guest run until it comes into the scope."""
        self._arm()
        self._control.resume()
        self._last = None
        while True:
            try:
                event = self._control.wait(_SLICE)
                break
            except TargetTimeout:
                self._tell()
                if self._late():
                    self._control.interrupt()
                    self._registers.forget()
                    return "time-out"
        self._memory.clear()
        self._registers.forget()
        self._shut_down = event.reason == "shutdown"
        return "interrupt" if event.reason == "interrupt" else None

    def _arm(self) -> None:
        """Set breakpoints where the guest may come into the scope, and at the end of the run."""
        until = self._bounds.until
        wanted = self._scope.entries() | (set() if until is None else {until})
        for address in self._armed - wanted:
            self._control.remove(address)
        for address in wanted - self._armed:
            self._control.insert(address)
        self._armed = wanted

    def _disarm(self) -> None:
        if not self._control.running:
            for address in self._armed:
                self._control.remove(address)
            self._armed = set()

    def _late(self) -> bool:
        seconds = self._bounds.seconds
        return seconds is not None and time.monotonic() - self._began > seconds

    def _tell(self) -> None:
        spent = max(time.monotonic() - self._began, 1e-6)
        done = f"{self._instructions} instructions, {self._instructions / spent:.0f}/s"
        self._progress(f"silicon: {done}, {len(self._refused)} refused")

    def _report(self, end: End) -> SiliconReport:
        cpu = read_cpu(self._target)
        return SiliconReport(
            refused=tuple(self._refused),
            instructions=self._instructions,
            end=end,
            cs=cpu.segments["cs"].selector,
            eip=cpu.eip,
            linear=cpu.linear_pc,
            symbol=self._symbols.name(cpu.linear_pc) if self._symbols else None,
            failure=self._failure(end, cpu),
        )

    def _failure(self, end: End, cpu: Cpu) -> str | None:
        if end == "time-out":
            spent = f"{self._bounds.seconds:g} s"
            return f"{self._instructions} instructions took {spent} (--timeout 0 waits for ever)"
        where = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
        if end == "halted":
            return f"halted with interrupts off before {where}: only an NMI or a reset wakes it"
        if end == "shutdown":
            return f"the guest shut down at {where} (triple fault, or it asked to): 'reset' it"
        return None


def _gate_entry(raw: bytes, long_mode: bool) -> tuple[int, int] | None:
    gate = decode_gate(raw, long_mode)
    return (gate.target_selector, gate.offset) if isinstance(gate, Gate) else None


def _instead(violation: Violation) -> frozenset[int]:
    """List the vectors that tell that the target did not let it pass, or did not come to it."""
    if violation.access == "execute" and violation.rule != "privilege":
        return frozenset({violation.vector})
    return frozenset({violation.vector, _UD, _NM} | ({_PF} if violation.vector == AC else set()))


def _may_be_tried(verdict: Verdict) -> bool:
    """Tell what some emulators refuse themselves: only executing it shows whether this one does.

    These are ICEBP, an instruction of ring 0, and a far jump or call past its target's limit. What
    they leave where they pass is EIP and stack, which delivery writes from where they began; a
    register that they load stays loaded.
    """
    operation, violation = verdict.operation, verdict.violation
    if violation is None or violation.rule in ("icebp", "privilege"):
        return True
    if violation.rule != "code-limit" or len(verdict.accesses) == 1:
        return False
    far = operation.mnemonic in ("ljmp", "lcall")
    return far or (operation.opcode[0] == 0xFF and operation.extension in (3, 5))
