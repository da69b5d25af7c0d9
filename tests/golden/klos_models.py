"""Models of KLOS with a fixed content, as a guest would fill them, without a guest."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from klosdbg.klos.abi import (
    KlosArray,
    KlosFrame,
    KlosInfo,
    KlosPanic,
    KlosProcess,
    KlosService,
    KlosThread,
)
from klosdbg.klos.constants import State, Wait
from klosdbg.klos.layout import decode, size_of
from klosdbg.klos.models import (
    Change,
    Check,
    Description,
    FrameUse,
    HandlerList,
    HandlerRow,
    Klos,
    MailboxAnswer,
    MeasuredCall,
    MemoryUse,
    NativeBench,
    Outcome,
    Outcomes,
    ProcessList,
    ServiceBench,
    ServiceList,
    ThreadList,
    ThreadState,
)

T = TypeVar("T")
GDT, LDT, READY, STUB, HANDLER = 0xC0190000, 0xC01A0000, 0xC010CD80, 0xC0103E60, 0xC01076A0
SYMBOLS = {GDT: "gdt", LDT: "ldt", READY: "klos_ready", STUB: "stub_0", HANDLER: "event_exception"}


def symbol(address: int) -> str | None:
    """Name an address that is a symbol's own."""
    return SYMBOLS.get(address)


def make(structure: type[T], **values: object) -> T:
    """Fill a structure of the guest: what is not named is zero."""
    return replace(decode(structure, bytes(size_of(structure))), **values)  # type: ignore[type-var]


INFO = make(
    KlosInfo,
    magic="KLOSINFO",
    version=1,
    size=472,
    flags=0x1B,
    build_id="0123456789abcdef",
    csos=0x1B,
    dsapp=0x23,
    dsos=0x8293,
    gate_selector=0x3B,
    irq_vector=32,
    gdt=GDT,
    gdt_limit=0xFFFF,
    ldt=LDT,
    ldt_limit=0xFFFF,
    stubs=KlosArray(STUB, 256, 4),
    processes=KlosArray(0xC01F2B40, 32, 716),
    current_pid=2,
    random_state=0x8000_0000_0000_0001,
    tick_rate=200,
)
CHECKS = (
    Check("gdt", "ok", GDT, GDT, "GDTR"),
    Check("dsos", "wrong", 0x8293, "not present", "the GDT"),
    Check("tss", "unknown", 0xFF800F98, "not mapped", "TR"),
)
FRAME = make(KlosFrame, vector=14, error_code=4, cs=0x1B, eip=0x401234, ss=0x23, esp=0xA0001000)


def descriptions() -> Iterator[tuple[str, object]]:
    """Yield what ``klos`` shows: sound, with wrong claims, after a panic, before the boot."""
    klos = Klos(0xC0186000, INFO, "symbol")
    yield "klos", Description(klos, CHECKS[:1])
    yield "klos-wrong", Description(replace(klos, found="scan"), CHECKS)
    reason = "no thread is left that can run"
    panic = make(
        KlosPanic, vector=14, pid=2, tid=3, depth=1, cr2=0x1234, reason=reason, frame=FRAME
    )
    yield "klos-panic", Description(klos, CHECKS[:1], panic)
    yield "klos-early", Description(Klos(0x186000, make(KlosInfo, version=1), "scan"), ())


def lists() -> Iterator[tuple[str, object]]:
    """Yield processes, threads, services, handlers and page frames."""
    system = make(
        KlosProcess,
        pid=1,
        state=State.READY,
        cr3=0x204000,
        threads=1,
        frames=3,
        flags=1,
        name="system",
    )
    ping = replace(system, pid=2, parent=1, state=State.RUNNING, name="ping", flags=0, messages=5)
    dead = replace(
        system, pid=3, parent=2, state=State.ENDED, name="a-name-of-23-characters", faults=1,
        end_vector=13, exit_code=-1 & 0xFFFFFFFF, flags=2,
    )  # fmt: skip
    yield "ps", ProcessList((system, ping), 2)
    yield "ps-all", ProcessList((system, ping, dead), 2)
    waits = make(KlosThread, tid=1, pid=1, state=State.BLOCKED, wait=Wait.SLEEP, wake_tick=900)
    runs = make(KlosThread, tid=2, pid=2, state=State.RUNNING, ticks=41, switches=7)
    yield (
        "threads",
        ThreadList(
            (
                ThreadState(waits, "system", False, READY, 0xF0001000, FRAME),
                ThreadState(runs, "ping", True, 0x401234, 0xA0001000, None),
                ThreadState(replace(runs, tid=3), "ping", False, None, None, None),
            )
        ),
    )
    yield (
        "services",
        ServiceList(
            (
                make(
                    KlosService, number=0, function=READY, prologue=STUB, end=STUB + 40, name="null"
                ),
                make(
                    KlosService, number=1, function=HANDLER, prologue=STUB, end=STUB, name="write"
                ),
            ),
            (READY, HANDLER),
        ),
    )
    rows = (
        HandlerRow(0, "#DE", "interrupt-gate", 0, STUB, HANDLER),
        HandlerRow(8, "#DF", "task-gate", 0, STUB, None),
        HandlerRow(32, "IRQ 0", "interrupt-gate", None, STUB, 0),
    )
    yield "handlers", HandlerList(rows, READY, 253)
    uses = (FrameUse("free", None, 32153), FrameUse("the OS", None, 80), FrameUse("ping", 2, 11))
    yield "frames", MemoryUse(uses, sum(use.frames for use in uses))


def runs() -> Iterator[tuple[str, object]]:
    """Yield answers, outcomes and figure 4."""
    change = Change("command", 0xC01D2A98, "", "relocate")
    done = MailboxAnswer("relocate", 3, "done", 3, "three times", (change,))
    yield "mailbox", done
    yield "mailbox-refused", replace(done, status="error", text="no such command")
    claim = "an application cannot write the descriptor tables"
    tests = (
        Outcome("table-write", "pass", "the write raised #PF", claim, True),
        Outcome("dsapp-read", "not-enforced", "this processor checks no limits", claim, True),
        Outcome("guess", "fail", "it read the OS's data " * 4, claim, False),
    )
    yield "attacks", Outcomes("attacks", tests, False, done)
    yield "selftest", Outcomes("selftest", (replace(tests[0], held=None),), True)
    yield "selftest-none", Outcomes("selftest", (), True)
    rows = tuple(
        MeasuredCall(mechanism, situation, ticks * factor, ticks, ticks * 9, 100)
        for factor, situation in enumerate(("best", "average", "worst"), 1)
        for mechanism, ticks in (("trap", 40), ("sysenter", 60), ("design_a", 20), ("design_b", 30))
    )
    yield "bench-services", ServiceBench("instructions", "instructions executed", rows, done)
    yield (
        "bench-services-native",
        NativeBench({"design_a": 31.5, "design_b": 44.0, "syscall": 150.0}),
    )


MODELS = {name: model for family in (descriptions, lists, runs) for name, model in family()}
