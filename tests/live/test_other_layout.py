"""A KLOS image where nothing is where KLOS has it: by a profile, all that knows KLOS works."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from klosdbg.wire.symbols import Image, SymbolTable
from tests.build import make
from tests.live.driver import Driver, assert_fits, klosdbg
from tests.live.klos import GUEST, IMAGE, console, rows
from tests.live.profiles import Document, profile, profiled, strip
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

OTHER = GUEST / "build" / "other" / "klos.elf"
WAYS = ["probe", "mailbox", "call"]
DIFFERENT = (
    "gdt", "ldt", "idt", "tss", "gdt_limit", "ldt_limit", "csos", "dsapp", "core_code",
    "core_data", "gate_selector", "app_base", "app_top", "os_base", "irq_vector", "return_gate",
    "processes", "threads", "relocation_log",
)  # fmt: skip


def table(image: Path) -> SymbolTable:
    return SymbolTable((Image(image.read_bytes(), str(image)),))


@pytest.fixture(scope="module")
def document() -> Document:
    make(GUEST)
    make(GUEST, "LAYOUT=other")
    return profile(table(OTHER))


@pytest.fixture(scope="module")
def stripped(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strip(OTHER, tmp_path_factory.mktemp("other") / "other.elf")


@pytest.fixture(scope="module")
def other(document: Document, stripped: Path) -> Iterator[Driver]:
    with profiled(stripped, document) as driver:
        driver.line("until klos_ready")
        yield driver


def test_the_image_has_no_name(document: Document) -> None:
    """It was built without the magic, not only stripped of it."""
    assert document["facts"]
    assert b"KLOSINFO" not in OTHER.read_bytes()


def test_the_other_guest_is_sound(document: Document) -> None:
    """Its own self-tests and attacks end as those of the first layout do."""
    first = rows(console("seed=7 run=selftest,exit", image=IMAGE))
    assert document["facts"]
    assert rows(console("seed=7 run=selftest,exit", image=OTHER)) == first
    assert set(first.values()) <= {"PASS", "NOT-ENFORCED"}


def test_nothing_is_where_klos_has_it(other: Driver, stripped: Path) -> None:
    """Tables, selectors, vectors and sizes all differ, and what was told holds."""
    words = ("--headless", "--image", str(IMAGE), "-c", "until klos_ready", "-c", "klos --json")
    klos = json.loads(klosdbg("run", *words).out.splitlines()[-1])
    told = other.models("klos")
    assert [name for name in DIFFERENT if told[name] == klos[name]] == []
    assert {check["result"] for check in told["checks"]} <= {"ok", "unknown"}
    assert klosdbg("run", "--headless", "--image", str(stripped), "-c", "dsos").code == 1


def test_where_dsos_is(other: Driver) -> None:
    """In tables of 2048 slots, and every site agrees."""
    dsos = other.models("dsos")
    assert dsos["slot"] < 2048
    assert {site["selector"] for site in dsos["sites"]} == {dsos["selector"]}
    names = {e["name"]: e["index"] for e in other.models("gdt")["entries"] if e.get("name")}
    assert (names["csos"], names["dsapp"], names["core_code"], names["gate"]) == (7, 8, 5, 3)
    assert_fits(other.line("dsos"))


@pytest.mark.parametrize("how", WAYS)
def test_relocations_with_an_audit_after_each(other: Driver, how: str) -> None:
    """By each way: all came, the chain is whole, and no audit found a fault."""
    printed = other.line(f"dsos trigger 50 --how {how} --audit --json").splitlines()
    *audits, added = map(json.loads, printed)
    moves = [move for audit in audits for move in audit["relocations"]]
    assert (len(moves), added["done"], added["faults"]) == (50, 50, 0)
    assert all(a["new"] == b["old"] for a, b in pairwise(moves))
    assert all((move["new"] >> 3) < 2048 for move in moves)
    assert other.models("dsos audit")["findings"] == []


@pytest.mark.parametrize("rule", ["site-stale", "old-slot-present", "second-dsos"])
def test_a_planted_fault_is_named(other: Driver, rule: str) -> None:
    """A site, the old slot, another slot: each put wrong, found, and put back."""
    (move,) = other.models("dsos trigger --how mailbox")["relocations"]
    klos, site = other.models("klos"), other.models("dsos")["sites"][3]["address"]
    old = klos["ldt" if move["old"] & 4 else "gdt"] + (move["old"] & ~7)
    flat = bytes.fromhex("ffff000000f3cf00")
    address, raw = {
        "site-stale": (site, move["old"].to_bytes(4, "little")),
        "old-slot-present": (old, flat),
        "second-dsos": (klos["ldt"] + 8 * 2047, flat),
    }[rule]
    target = other.session.target
    assert target.linear_writer is not None
    before = target.linear.read(address, len(raw))
    target.linear_writer.write(address, raw)
    found = {finding["rule"] for finding in other.models("dsos audit")["findings"]}
    target.linear_writer.write(address, before)
    assert found == {rule}
    assert other.models("dsos audit")["findings"] == []


def test_watch_and_audit_while_it_runs(other: Driver) -> None:
    """The map is as large as the tables, and slots are evenly used."""
    other.line("mailbox start touch 9999999")
    drawn = other.line("dsos watch --events 400").splitlines()
    assert sum(line.lstrip()[0:1].isdigit() and "|" in line for line in drawn) == 8
    (even,) = [line for line in drawn if "evenly used" in line]
    # Which relocations these are depends on the host, so any p comes at times, but none like this.
    assert float(even.split("p = ")[1].split()[0]) > 1e-9
    each = other.line("dsos audit --at-every-relocation 20 --json").splitlines()
    found = [finding for line in each for finding in json.loads(line)["findings"]]
    assert (len(each), [f for f in found if f["severity"] != "note"]) == (20, [])


@pytest.mark.parametrize("recorder", ["", "--ring"])
def test_events(other: Driver, recorder: str) -> None:
    """By both recorders: the timer's, from stub to handler and back, its interrupt ended."""
    klos = other.models("klos")
    other.line(f"events record -n 40 -v {klos['irq_vector']} {recorder}")
    shown = [json.loads(line) for line in other.line("events show --json").splitlines()]
    assert len(shown) == 40
    assert {event["eoi"] for event in shown} == {True}
    assert all(event["handler"] >= klos["os_text_start"] for event in shown)
    assert {event["back"]["address"] for event in shown} == {klos["return_gate"]}


def test_lists(other: Driver) -> None:
    """Processes, threads, services, handlers by their own vectors, memory."""
    processes = [process["name"] for process in other.models("ps")["processes"]]
    assert {"system", "ping", "pong"} <= set(processes)
    assert other.models("threads")["threads"]
    assert len(other.models("services")["services"]) == 64
    handlers = {row["vector"]: row["name"] for row in other.models("handlers")["handlers"]}
    assert (handlers[96], handlers[112], handlers[113]) == ("IRQ 0", "commit", "trap")
    assert other.models("frames")["total"]


def test_attacks_silicon_and_gadgets(document: Document, stripped: Path) -> None:
    """What puts the protection on trial."""
    with profiled(stripped, document) as driver:
        driver.line("until klos_ready")
        assert driver.models("silicon -n 300")["instructions"] == 300
        attacks = driver.models("attack")["tests"]
        assert {test["result"] for test in attacks} <= {"pass", "not-enforced"}
        guesses = driver.models("attack guess --rounds 300")
        assert (guesses["rounds"] >= 300, guesses["slots"]) == (True, 2 * 2048 - 9)
        kinds = {gadget["kind"] for gadget in driver.models("dsos gadgets")["gadgets"]}
        assert "middle" in kinds
        assert driver.models("bench-services")["best"]


def test_on_the_command_line(document: Document, stripped: Path, tmp_path: Path) -> None:
    """What a user types; and a capture of it is opened elsewhere."""
    path, kept = tmp_path / "other.yaml", tmp_path / "other.klos"
    path.write_text(yaml.safe_dump(document))
    words = ("--headless", "--image", str(stripped), "--profile", str(path))
    ran = klosdbg("capture", "-o", str(kept), *words, "-c", "until klos_ready", "-c", "dsos")
    assert (ran.code, "all 65 sites agree" in ran.out) == (0, True), ran.err
    ran = klosdbg("open", str(kept), "--profile", str(path), "-c", "dsos --json")
    assert ran.code == 0, ran.err
    assert len(json.loads(ran.out.splitlines()[-1])["sites"]) == 65
