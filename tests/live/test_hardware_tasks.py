"""Tasks that hardware switches, on a guest that has several (guests/tasks.S)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from klosdbg.errors import CommandError
from klosdbg.system import UNKNOWN
from tests.live.driver import Driver, assert_fits, driving, klosdbg
from tests.live.hardware_tasks import (
    CALLEE,
    FAR,
    FAR_BASE,
    LDTS,
    MAIN,
    SHORT,
    SMALL,
    USER,
    run_to,
    shown_by_qemu,
)
from tests.live.serving import gdb, serving
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A guest whose TR has just been loaded."""
    with driving(image("tasks")) as found:
        found.line("until main")
        yield found


def task(driver: Driver, selector: int) -> dict[str, Any]:
    (found,) = (t for t in driver.models("tasks")["tasks"] if t["selector"] == selector)
    return dict(found)


@pytest.mark.parametrize("selector", [MAIN, USER, FAR, SMALL, CALLEE])
def test_the_task_that_runs(driver: Driver, selector: int) -> None:
    """What QEMU shows of the processor, not what its TSS had saved."""
    run_to(driver, selector)
    found, shown = task(driver, selector), shown_by_qemu(driver)
    assert [t["current"] for t in driver.models("tasks")["tasks"]].count(True) == 1
    assert (found["current"], found["busy"], found["processor"]) == (True, True, 0)
    cs, base = shown.segments["CS"]
    assert (found["cs"], found["eip"]) == (cs, shown.registers["eip"])
    assert (found["linear"], found["ldt"]) == (base + found["eip"], shown.segments["LDT"][0])
    assert (found["selector"], found["base"]) == shown.segments["TR"]
    assert found["cr3"] == shown.registers["cr3"]
    assert_fits(driver.line("tasks"))


@pytest.mark.parametrize("selector", [MAIN, USER, FAR])
def test_the_task_that_waits(driver: Driver, selector: int) -> None:
    """Its TSS holds the registers with which it jumped away, and where it goes on."""
    run_to(driver, selector)
    driver.line("until yield_jump")
    left = shown_by_qemu(driver)
    driver.line("s")
    found, saved = task(driver, selector), driver.models(f"tss {selector:#x}")
    assert (found["current"], found["busy"], found["back_link"]) == (False, False, 0)
    assert (found["cs"], found["linear"]) == (0x08, driver.address("yield_on"))
    assert found["symbol"] == "yield_on"
    assert (found["ldt"], found["cr3"]) == (LDTS.get(selector, 0), left.registers["cr3"])
    names = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
    assert {n: saved[n] for n in names} == {n: left.registers[n] for n in names}
    assert {n: saved[n] for n in ("ss", "ds", "es")} == {
        n: left.segments[n.upper()][0] for n in ("ss", "ds", "es")
    }


def test_code_through_the_ldt_of_each(driver: Driver) -> None:
    """One selector, 0x0c, is the code of two tasks in two places; neither has run yet."""
    far, small, user = (task(driver, s) for s in (FAR, SMALL, USER))
    assert (far["cs"], small["cs"], user["cs"]) == (0x0C, 0x0C, 0x0F)
    assert far["linear"] == FAR_BASE + driver.address("far")
    assert (small["symbol"], user["symbol"]) == ("small", "user")
    assert (small["bits"], small["cr3"]) == (16, None)


def test_a_task_that_was_called(driver: Driver) -> None:
    run_to(driver, CALLEE)
    called, caller = task(driver, CALLEE), task(driver, FAR)
    assert (called["back_link"], called["nested"], called["current"]) == (FAR, True, True)
    assert (caller["busy"], caller["current"]) == (True, False)
    assert caller["linear"] == FAR_BASE + driver.address("far_called")
    driver.line("s")
    assert (task(driver, FAR)["current"], task(driver, CALLEE)["busy"]) == (True, False)


def test_a_tss_that_is_too_short(driver: Driver) -> None:
    found = task(driver, SHORT)
    assert (found["refusal"], found["cs"], found["eip"]) == ("limit 0x20: #TS", None, None)


@pytest.mark.parametrize("selector", LDTS)
def test_the_ldt_of_each(driver: Driver, selector: int) -> None:
    """As its selector and as its task's: what LDTR holds while that task runs."""
    before = [driver.models(f"ldt {of:#x}") for of in (selector, LDTS[selector])]
    named = [driver.models(f"ldt --of {of:#x}") for of in (selector, LDTS[selector])]
    run_to(driver, selector)
    here = driver.models("ldt --all")
    assert [*before, *named] == [before[0]] * 4
    assert (here["base"], here["limit"]) == (before[0]["base"], before[0]["limit"])
    assert here["base"] == shown_by_qemu(driver).segments["LDT"][1]
    assert (
        driver.models(f"ldt 1 --of {selector:#x}")["entries"][0]["base"]
        == (shown_by_qemu(driver).segments["CS"][1])
    )
    assert driver.models("ldt tr") == driver.models("ldt ldtr") == driver.models("ldt")


def test_a_number_that_is_an_entry_as_well(driver: Driver) -> None:
    """It stays the entry, and klosdbg says what else it could have been."""
    said: list[str] = []
    driver.session.warn = said.append
    run_to(driver, USER)
    assert driver.models("ldt 2")["entries"][0]["index"] == 2
    driver.line(f"set gdt+{LDTS[USER]:#x} 0x1ff -w w")
    run_to(driver, FAR)
    run_to(driver, USER)
    assert driver.models(f"ldt {FAR:#x}")["entries"][0]["index"] == FAR
    (note,) = said
    assert "ldt --of 0x28" in note
    assert driver.models(f"ldt --of {FAR:#x}")["limit"] == 0x17


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tss 0x08", "0x0008 selects no TSS: 'tasks' lists the TSSs"),
        ("tss 0x48", "0x0048 selects an LDT"),
        ("tss 0x1230", "0x1230 selects no TSS"),
        ("ldt --of 0x08", "0x0008 selects no LDT and no TSS"),
        ("ldt 0x38", "task 0x38 has no LDT: its TSS holds selector 0x0000"),
        ("ldt 0x40", "task 0x40 has no LDT: its TSS is too short"),
        ("ldt 7 --of 0x20", "the LDT has no entry 7"),
        ("ldt nothing", "no selector 'nothing'"),
    ],
)
def test_what_is_refused(driver: Driver, line: str, said: str) -> None:
    with pytest.raises(CommandError, match=said.replace("(", "\\(")):
        driver.line(line)


def test_a_tss_that_is_not_mapped(driver: Driver) -> None:
    """It is listed, with what can be said of it: nothing, or what lies before the hole."""
    driver.line(f"set gdt+{USER + 2:#x} 0xffc0 -w w")
    driver.line(f"set gdt+{USER + 4:#x} 0x3f -w b")
    found = task(driver, USER)
    assert (found["base"], found["eip"] is None) == (0x3FFFC0, False)
    assert (found["ldt"], found["refusal"]) == (None, "not mapped: #PF")
    driver.line(f"set gdt+{USER + 7:#x} 0x20 -w b")
    found = task(driver, USER)
    assert (found["base"], found["cs"], found["back_link"]) == (0x203FFFC0, None, None)
    assert_fits(driver.line("tasks"))


def test_one_tss(driver: Driver) -> None:
    """It is no task system: nothing is called a task."""
    assert driver.session.system.name == "hardware tasks"
    assert driver.session.process == "task 0x18"
    for selector in (USER, FAR, SMALL, CALLEE, SHORT):
        driver.line(f"set gdt+{selector + 5:#x} 0 -w b")
    driver.line("s")
    assert driver.models("tasks")["one_per_processor"]
    assert "one TSS per processor" in driver.line("tasks")
    assert driver.session.system is UNKNOWN
    assert driver.session.process is None


def test_before_there_are_tasks() -> None:
    ran = klosdbg("run", "--headless", "--image", "none", "-c", "tasks")
    assert (ran.code, "real mode" in ran.err, len(ran.err.splitlines())) == (1, True, 1)
    ran = klosdbg("run", "--headless", "--image", str(image("tasks")), "-c", "tasks")
    assert (ran.code, "TR holds a null selector" in ran.err) == (1, True)


def test_a_capture_has_them(tmp_path: Path) -> None:
    """Also the tables of those that do not run."""
    path = tmp_path / "tasks.klos"
    lines = ["tasks", "tss 0x20", "tss 0x30", "ldt 0x28", "ldt --of 0x30", "tss"]
    asked = [word for line in lines for word in ("-c", line)]
    run = ("--headless", "--image", str(image("tasks")), "-c", "until callee", *asked)
    live = klosdbg("capture", "-o", str(path), *run)
    opened = klosdbg("open", str(path), *asked)
    assert (live.code, opened.code) == (0, 0), live.err + opened.err
    assert opened.out.strip() in live.out
    assert opened.out.count("TSS at") == 3


def test_events_say_whom_they_hit_and_switched_to(driver: Driver) -> None:
    """Each yields to the next: first to where that begins, from the second round on by its iret."""
    driver.line("events record -n 12")
    events = driver.session.events
    on = {MAIN: "main_on", USER: "user_on", FAR: "far_on"}
    order = [MAIN, USER, FAR, MAIN]
    base = {MAIN: 0, USER: 0, FAR: FAR_BASE}
    for number, event in enumerate(events):
        hit, following = order[number % 3 : number % 3 + 2]
        assert (event.process, event.tid) == (f"task {hit:#x}", hit)
        assert event.source.linear == base[hit] + driver.address(on[hit])
        assert (event.source.cpl, event.depth) == (3 if hit == USER else 0, 1)
        assert event.resumed is not None
        assert event.back is not None
        assert (event.resumed.process, event.resumed.tid) == (f"task {following:#x}", following)
        assert event.resumed.changed
        begins = number < 2
        assert event.back.kind == ("task-switch" if begins else "iret")
        name = {USER: "user", FAR: "far_called"}[following] if begins else on[following]
        assert event.resumed.place.linear == base[following] + driver.address(name)
        assert bool(event.tlb_flush) == (FAR in (hit, following))
    assert "task 0x28" in driver.line("events show")
    assert_fits(driver.line("events show --tree"))


def test_filters_and_conditions_by_task(driver: Driver) -> None:
    driver.line("events record -n 2 --process 'task 0x28'")
    assert [event.tid for event in driver.session.events] == [FAR] * 2
    driver.line("events record -n 2 --if 'resumed.tid == 0x20'")
    assert [event.tid for event in driver.session.events] == [MAIN] * 2
    driver.line("b event 0x40 if process == 'task 0x20' and source.cpl == 3")
    driver.line("c")
    assert shown_by_qemu(driver).segments["TR"][0] == USER
    assert driver.models("regs")["linear"] == driver.address("yield")
    assert driver.models("info b")["breakpoints"][0]["hits"] == 1


def test_gdb_shows_them_as_threads() -> None:
    """Each where it stands, with the hidden parts and the memory of its own LDT and CR3."""
    with driving(image("tasks")) as found:
        places = {n: found.address(n) for n in ("callee", "far_called", "small", "yield_on")}
        run_to(found, FAR)
        cr3 = shown_by_qemu(found).registers["cr3"]
    show = ", ".join(f"${name}" for name in ("eip", "cr3", "ldtr", "ds_base"))
    with serving("run", "--headless", "--image", str(image("tasks"))) as path:
        output = gdb(
            path,
            f"tbreak *{places['callee']:#x}",
            "continue",
            "info threads",
            f'thread apply all -s -- printf "%x %x %x %x\\n", {show}',
            "thread find 0x28",
            "info os tasks",
            f"thread apply 5 -s -- x/1i {FAR_BASE + places['far_called']:#x}",
        )
    threads = re.findall(r'^[* ] (\d+) +Thread (\d+) "task (0x\w+)" \((\w+)', output, re.M)
    assert {int(selector, 16): state for _, _, selector, state in threads} == {
        CALLEE: "runs",
        MAIN: "waits",
        USER: "waits",
        FAR: "busy",
        SMALL: "waits",
    }
    assert all(int(number) == int(selector, 16) for _, number, selector, _ in threads)
    rows = {
        int(number): [int(word, 16) for word in words.split()]
        for number, words in re.findall(
            r"^Thread \d+ \(Thread (\d+).*\n([0-9a-f ]+)$", output, re.M
        )
    }
    main_cr3 = rows[MAIN][1]
    assert rows == {
        CALLEE: [places["callee"], main_cr3, 0, 0],
        MAIN: [places["yield_on"], main_cr3, 0, 0],
        USER: [places["yield_on"], main_cr3, LDTS[USER], 0],
        FAR: [FAR_BASE + places["far_called"], cr3, LDTS[FAR], FAR_BASE],
        SMALL: [places["small"], main_cr3, LDTS[SMALL], 0x100000],
    }
    assert cr3 != main_cr3
    assert re.search(r"^0x28 +32 +0x50 +0x\w+ +0xc +0x\w+ +0x\w+ +yes +no ", output, re.M)
    assert re.search(r"0x40[0-9a-f]{6}:\tint +\$0x40", output)
