"""What the lists say of a frozen KLOS, as models, as text and as JSON."""

import json
from dataclasses import replace

import pytest
from klosdbg.klos.constants import Event, Frame, flag_labels, label
from klosdbg.klos.find import find_klos
from klosdbg.klos.models import MailboxAnswer, MeasuredCall, NativeBench, ServiceBench
from klosdbg.klos.outcomes import clock, read_bench, read_outcomes
from klosdbg.klos.processes import read_frames, read_processes, read_threads
from klosdbg.klos.system import read_handlers, read_klos, read_services
from klosdbg.ports import Target
from klosdbg.session import Session
from klosdbg.views import Style, data, text
from tests.unit.klos.frozen import OS_BASE, Memory, Registers, cpu, place, ram, symbols, target

STYLE = Style(symbols().name)


def session(frozen: Target) -> Session:
    opened = Session(symbols=symbols())
    opened.attach(frozen)
    return opened


def test_processes() -> None:
    """Ended processes are shown on request; a terminal gets no escape sequence."""
    shown = read_processes(target(), symbols(), everything=False)
    assert [(p.pid, p.name) for p in shown.processes] == [(1, "system"), (2, "talk")]
    everything = read_processes(target(), symbols(), everything=True)
    shown = text(everything, STYLE)
    lines = [line for line in shown.splitlines() if not line.startswith("      ")]
    assert lines[2].split()[:5] == ["*", "2", "talk", "running", "1"]
    assert "4 faults, 5 messages" in shown
    assert "\x1b" not in shown
    assert "ended by #PF" in lines[3]
    document = data(everything, STYLE)
    assert document["schema"] == "klosdbg/ps/1"
    talk = list_of(document["processes"])[1]
    assert (talk["state"], talk["cr3"], talk["iomap_frames"]) == (
        "running",
        0x8000,
        (0x9000, 0xA000),
    )


def list_of(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def test_threads_stand_somewhere() -> None:
    """A waiting thread's place is in its context, the running one's in the processor."""
    threads = read_threads(target(), symbols()).threads
    assert [(t.thread.tid, t.process, t.current) for t in threads] == [
        (1, "system", False),
        (2, "talk", True),
        (3, "talk", False),
    ]
    assert [(t.eip, t.esp) for t in threads] == [
        (0xC0108700, 0xF0001000),
        (0x401234, 0xA0001000),
        (None, None),
    ]
    lines = text(read_threads(target(), symbols()), STYLE).splitlines()
    assert "event" in lines[1]
    assert "0x00401234" in lines[2]


def test_a_thread_at_a_long_name_fits_as_well() -> None:
    """Where it stands then has a line of its own."""
    style = Style(symbol=lambda _address: "a_function_that_has_a_very_long_name_indeed+0x59")
    shown = text(read_threads(target(), symbols()), style)
    assert shown.count("<a_function_that_has_a_very_long_name_indeed+0x59>") >= 2
    assert max(map(len, shown.splitlines())) <= 80


def test_services() -> None:
    """Names of full length, functions and the table of Design A."""
    services = read_services(target(), symbols())
    assert [s.name for s in services.services] == ["null", "a name of 23 characters"]
    assert services.table == (0xC0108500, 0xC0108600)


def test_handlers() -> None:
    """What most vectors share is named once; a task gate has no handler."""
    handlers = read_handlers(target(), symbols(), everything=False)
    assert [(r.vector, r.name, r.handler) for r in handlers.rows] == [
        (8, "#DF", None),
        (32, "IRQ 0", 0xC0108100),
    ]
    assert (handlers.default, handlers.left_out) == (0xC0108040, 254)
    everything = read_handlers(target(), symbols(), everything=True).rows
    assert [r.name for r in everything if r.dpl == 3] == ["#BP", "commit", "trap"]
    assert everything[8].gate == "task-gate"
    assert everything[14].stub == 0xC0104100 + 14 * 16


def test_frames() -> None:
    """Every frame has one owner."""
    use = read_frames(target(), symbols())
    found = {(u.pid, u.owner): u.frames for u in use.uses}
    assert found[(2, "talk")] == 3
    assert found[(None, "the image")] == 2
    assert use.total == 8
    assert len(use.uses) == len(Frame) + 1


def test_slots_have_roles() -> None:
    """The GDT's and the LDT's slots are named by the selectors; reads happen once a stop."""
    frozen = target()
    opened = session(frozen)
    assert opened.system.slot_names("gdt") == {
        1: "core_code",
        2: "core_data",
        3: "csos",
        4: "dsapp",
        5: "tss",
        6: "ldt",
        7: "gate",
        8: "fault_tss",
    }
    assert isinstance(frozen.linear, Memory)
    before = frozen.linear.reads
    assert opened.system.slot_names("ldt") == {10: "dsos"}
    assert frozen.linear.reads == before
    assert isinstance(frozen.registers, Registers)
    frozen.registers.cpu = cpu()
    assert opened.system.slot_names("ldt") == {10: "dsos"}
    assert frozen.linear.reads == before + 1


def test_other_guests_have_no_roles() -> None:
    """Without the symbol the GDT alone is read; with it but no KLOS behind it nothing is named."""
    frozen = target()
    opened = session(frozen)
    opened.symbols = None
    assert opened.system.slot_names("gdt") == {}
    assert opened.process == "task 0x28", "all that is known is that there is a second TSS"
    assert isinstance(frozen.linear, Memory)
    assert frozen.linear.reads == 1
    assert session(target(bytearray(0x200000))).system.slot_names("gdt") == {}
    assert Session(symbols=symbols()).system.slot_names("gdt") == {}


def test_the_current_process_has_a_name() -> None:
    """It is read once a stop, and absent where no process has the number."""
    opened = session(target())
    assert opened.process == "talk"
    memory = ram()
    memory[place("processes") + 128 + 20 - OS_BASE] = 77
    assert session(target(memory)).process is None


def test_self_tests() -> None:
    """What never ran has failed; the attacks come after the self-tests."""
    outcomes = read_outcomes(target(), symbols(), "selftest")
    assert [(t.name, t.result, t.held) for t in outcomes.tests] == [
        ("messages", "pass", None),
        ("sleep", "fail", None),
        ("never", "fail", None),
        ("lar-scan", "pass", False),
        ("overrun", "not-enforced", False),
    ]
    assert outcomes.found_fault
    assert "2 pass, 2 fail, 1 not-enforced" in text(outcomes, STYLE)
    attacks = read_outcomes(target(), symbols(), "attacks")
    assert not attacks.found_fault
    assert data(attacks, STYLE)["schema"] == "klosdbg/attacks/1"


def test_figure_4() -> None:
    """Medians, ratios to Design B, and the paper's; rows that were not run are left out."""
    bench = read_bench(target(), symbols())
    assert bench.rows == (
        MeasuredCall("trap", "best", 44, 40, 90, 100),
        MeasuredCall("design_b", "best", 11, 8, 20, 100),
    )
    document = data(bench, STYLE)
    assert document["best"] == {"trap": 44, "sysenter": None, "design_a": None, "design_b": 11}
    shown = text(bench, STYLE)
    assert next(line.split()[-5:] for line in shown.splitlines() if "trap" in line) == [
        "44",
        "40",
        "4.00",
        "181",
        "5.7",
    ]
    assert "takes the fewest" in shown


def test_native_numbers() -> None:
    """The host's processor is shown against Design B as well."""
    native = NativeBench({"design_b": 100.0, "syscall": 500.0})
    document = data(native, STYLE)
    assert document["counter"] == "cycles"
    assert document["native"] == {
        "design_a": None,
        "design_b": 100.0,
        "syscall": 500.0,
        "int80": None,
    }
    assert "5.00" in text(native, STYLE)


class Monitor:
    def __init__(self, kvm: str, jit: str) -> None:
        self.answers = {"info kvm": kvm, "info jit": jit}

    def command(self, text: str) -> str:
        return self.answers[text]


@pytest.mark.parametrize(
    ("kvm", "jit", "expected"),
    [
        ("kvm support: enabled", "", "kvm"),
        ("kvm support: disabled", "Host - Guest clock  3 ms", "icount"),
        ("kvm support: disabled", "TB count 7", "tcg"),
    ],
)
def test_what_drives_the_counter(kvm: str, jit: str, expected: str) -> None:
    """The emulator tells whether ticks are instructions."""
    assert clock(replace(target(), monitor=Monitor(kvm, jit))) == expected
    assert clock(target()) == ""


def all_models() -> list[object]:
    frozen = target()
    answer = MailboxAnswer("ping", 1, "done", 1, "here", ())
    return [
        read_klos(frozen, symbols()),
        read_processes(frozen, symbols(), everything=True),
        read_threads(frozen, symbols()),
        read_services(frozen, symbols()),
        read_handlers(frozen, symbols(), everything=True),
        read_frames(frozen, symbols()),
        read_outcomes(frozen, symbols(), "attacks"),
        read_bench(frozen, symbols()),
        NativeBench({"design_b": 1.0}),
        ServiceBench("instructions", "", (), answer),
        answer,
    ]


@pytest.mark.parametrize("model", all_models(), ids=lambda m: type(m).__name__)
def test_every_model_has_its_views(model: object) -> None:
    """Text fits 80 columns; data survives JSON and names its schema."""
    assert max(len(line) for line in text(model, STYLE).splitlines()) <= 80
    document = json.loads(json.dumps(data(model, STYLE)))
    assert document["schema"].startswith("klosdbg/")


def test_the_description_has_every_field() -> None:
    """JSON names each field as C does; the 64-bit one is a string."""
    document = data(read_klos(target(), symbols()), STYLE)
    assert document["schema"] == "klosdbg/klos/1"
    assert document["random_state"] == "0x8000000000000001"
    assert document["dsos"] == 0x57
    assert document["stubs"] == {"address": place("stub_table"), "count": 256, "entry_size": 4}
    assert {check["result"] for check in list_of(document["checks"])} == {"ok"}


def test_a_panic_is_a_fault() -> None:
    """The record is shown, and the exit code tells."""
    memory = ram()
    memory[0x100000 + 20] |= 4
    found = read_klos(target(memory), symbols())
    assert found.found_fault
    assert "for a test" in text(found, STYLE)
    assert find_klos(target(memory), symbols()).ready


def test_numbers_without_a_name() -> None:
    """What the header does not name is shown as a number."""
    assert label(Frame, 0xFFFD) == "image"
    assert label(Frame, 7) == "0x7?"
    assert flag_labels(Event, 0x43) == "flushed eoi 0x40?"
