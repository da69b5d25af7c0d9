"""The audit of DSOS on the real KLOS: nothing where all is well, and each planted fault by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosFrame, KlosInfo
from klosdbg.klos.audit.every import audit_each
from klosdbg.klos.layout import members
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import DETERMINISTIC, GUEST, IMAGE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

STOPPED_IN_IT = "relocation-in-progress"
LOADS = 31
"""After thirty of them DSOS has moved ten times."""
DSOS_RAW = bytes.fromhex("ffff000000f3cf00")
FRAME = {member.name: member.offset for member in members(KlosFrame)}
INFO = {member.name: member.offset for member in members(KlosInfo)}

Document = dict[str, Any]
Writes = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def guest() -> Iterator[Driver]:
    """Boot KLOS, let DSOS move, and stop in an application: the one that loads absent selectors.

    Its clock is its instructions and it runs from place to place: it stands where it stood before.
    """
    make(GUEST)
    with driving(IMAGE, *DETERMINISTIC, append="seed=5 run=touch:1000000") as driver:
        driver.line("until klos_ready")
        for _ in range(LOADS):
            driver.line("until load_fs")
        yield driver


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def slot(driver: Driver, selector: int) -> int:
    klos = driver.models("klos")
    table: int = klos["ldt" if selector & 4 else "gdt"]
    return table + (selector & ~7)


def old_selector(driver: Driver) -> int:
    """Give the selector that DSOS had before it last moved."""
    klos = driver.models("klos")
    log = klos["relocation_log"]
    newest = log["address"] + (klos["relocations"] - 1) % log["count"] * log["entry_size"]
    memory = driver.session.target.linear
    return int.from_bytes(memory.read(newest + 4, 2), "little")


def coming_selector(driver: Driver) -> int:
    """Draw what the guest is going to draw: where DSOS goes next."""
    klos = driver.models("klos")
    state = int(klos["random_state"], 16)
    while True:
        state ^= state >> 12
        state ^= state << 25 & (1 << 64) - 1
        state ^= state >> 27
        index = (state * 0x2545F4914F6CDD1D >> 32 & 0xFFFFFFFF) % 16384
        selector = index % 8192 << 3 | (3 if index < 8192 else 7)
        if selector != klos["dsos"] and (selector & 4 or selector >> 3 > 8):
            return selector


def waiting_thread(driver: Driver) -> Document:
    threads = driver.models("threads")["threads"]
    found: Document = next(t for t in threads if not t["current"])
    return found


@contextmanager
def planted(driver: Driver, writes: Writes) -> Iterator[None]:
    """Write to the guest, and put back what was there."""
    target = driver.session.target
    assert target.linear_writer is not None
    before = [(address, target.linear.read(address, len(raw))) for address, raw in writes]
    try:
        for address, raw in writes:
            target.linear_writer.write(address, raw)
        yield
    finally:
        for address, raw in before:
            target.linear_writer.write(address, raw)


def site(driver: Driver, name: str) -> int:
    sites = driver.models("dsos")["sites"]
    return int(next(s["address"] for s in sites if s["name"] == name))


def one_site_not_patched(driver: Driver) -> Writes:
    return [(site(driver, "sleep"), u32(old_selector(driver)))]


def no_site_of_dsos(driver: Driver) -> Writes:
    return [(site(driver, "sleep"), u32(0x1237))]


def a_prologue_overwritten(driver: Driver) -> Writes:
    return [(site(driver, "sleep") - 1, b"\x90\x90")]


def the_cell_of_the_event_core(driver: Driver) -> Writes:
    return [(site(driver, "event core"), u32(old_selector(driver)))]


def one_benchmark_prologue(driver: Driver) -> Writes:
    return [(site(driver, "bare_copy"), u32(driver.models("klos")["dsos"]))]


def old_slot_left_present(driver: Driver) -> Writes:
    return [(slot(driver, old_selector(driver)), DSOS_RAW)]


def old_slot_emptied(driver: Driver) -> Writes:
    return [(slot(driver, old_selector(driver)), bytes(8))]


def a_second_descriptor(driver: Driver) -> Writes:
    return [(slot(driver, 0x7FF7), DSOS_RAW)]


def another_segment_over_the_os(driver: Driver) -> Writes:
    """Base 0xC0000000, 16 bytes, read-only data."""
    return [(slot(driver, 0x7FF7), bytes.fromhex("0f00000000f140c0"))]


def an_emptied_slot(driver: Driver) -> Writes:
    return [(slot(driver, 0x7FF7), bytes(8))]


def dsapp_up_to_4_gib(driver: Driver) -> Writes:
    return [(slot(driver, driver.models("klos")["dsapp"]), DSOS_RAW)]


def csos_made_readable(driver: Driver) -> Writes:
    return [(slot(driver, driver.models("klos")["csos"]) + 5, b"\xfb")]


def dsos_gone(driver: Driver) -> Writes:
    return [(slot(driver, driver.models("klos")["dsos"]) + 5, b"\x73")]


def dsos_too_short(driver: Driver) -> Writes:
    return [(slot(driver, driver.models("klos")["dsos"]), b"\x00")]


def stale_ds_in_a_saved_context(driver: Driver) -> Writes:
    context = waiting_thread(driver)["context"]
    return [(context + FRAME["ds"], u32(old_selector(driver)))]


def dsos_in_a_saved_application(driver: Driver) -> Writes:
    thread, dsos = waiting_thread(driver), driver.models("klos")["dsos"]
    in_application = (thread["context"] + FRAME["eip"], u32(0x401000))
    return [in_application, (thread["context"] + FRAME["es"], u32(dsos))]


def dsos_in_a_saved_eax(driver: Driver) -> Writes:
    thread, dsos = waiting_thread(driver), driver.models("klos")["dsos"]
    in_application = (thread["context"] + FRAME["eip"], u32(0x401000))
    return [in_application, (thread["context"] + FRAME["eax"], u32(dsos))]


def a_strange_selector_in_a_saved_context(driver: Driver) -> Writes:
    return [(waiting_thread(driver)["context"] + FRAME["gs"], u32(0x7FF7))]


def an_old_immediate_inside_a_prologue(driver: Driver) -> Writes:
    context = waiting_thread(driver)["context"]
    middle = (context + FRAME["eip"], u32(site(driver, "sleep") + 4))
    return [middle, (context + FRAME["eax"], u32(old_selector(driver)))]


def dsos_on_an_application_s_stack(driver: Driver) -> Writes:
    stack = driver.session.target.registers.read().gpr["esp"]
    return [((stack - 64) & ~3, u32(driver.models("klos")["dsos"]))]


def the_gdt_elsewhere(driver: Driver) -> Writes:
    klos = driver.models("klos")
    return [(klos["address"] + INFO["gdt"], u32(klos["gdt"] + 0x1000))]


def dsapp_s_limit_above_the_tables(driver: Driver) -> Writes:
    klos = driver.models("klos")
    return [(klos["address"] + INFO["app_top"], u32(klos["gdt"] + 8))]


def a_relocation_under_way(driver: Driver) -> Writes:
    klos = driver.models("klos")
    return [(klos["address"] + INFO["sequence"], u32(klos["sequence"] + 1))]


PLANTS: list[tuple[Callable[[Driver], Writes], str, str]] = [
    (one_site_not_patched, "site-stale", "site sleep"),
    (no_site_of_dsos, "site-wrong", "site sleep"),
    (a_prologue_overwritten, "prologue-mismatch", "site sleep"),
    (the_cell_of_the_event_core, "site-stale", "site event core"),
    (one_benchmark_prologue, "bare-mixed", "site bare_copy"),
    (old_slot_left_present, "old-slot-present", "selector"),
    (old_slot_emptied, "old-slot-present", "selector"),
    (a_second_descriptor, "second-dsos", "LDT[4094]"),
    (another_segment_over_the_os, "covers-os", "LDT[4094]"),
    (an_emptied_slot, "odd-slot", "LDT[4094]"),
    (dsapp_up_to_4_gib, "dsapp-limit", "GDT[4]"),
    (csos_made_readable, "csos-readable", "GDT[3]"),
    (dsos_gone, "dsos-missing", "selector"),
    (dsos_too_short, "dsos-descriptor", "selector"),
    (stale_ds_in_a_saved_context, "stale-selector", "DS"),
    (dsos_in_a_saved_application, "application-holds-dsos", "ES"),
    (dsos_in_a_saved_eax, "application-register", "EAX"),
    (a_strange_selector_in_a_saved_context, "strange-selector", "GS"),
    (an_old_immediate_inside_a_prologue, "stale-in-prologue", "thread"),
    (dsos_on_an_application_s_stack, "application-memory", "pid"),
    (the_gdt_elsewhere, "table-moved", "GDT"),
    (dsapp_s_limit_above_the_tables, "below-limit", "GDT"),
    (a_relocation_under_way, "relocation-in-progress", "klos_info"),
]


def rules(driver: Driver) -> list[tuple[str, str]]:
    return [(f["rule"], f["where"]) for f in driver.models("dsos audit")["findings"]]


def test_nothing_is_found_where_all_is_well(guest: Driver) -> None:
    """After ten relocations, in an application that runs."""
    assert guest.models("dsos")["relocations"] == 10
    assert rules(guest) == []


@pytest.mark.parametrize(
    ("plant", "rule", "where"), PLANTS, ids=lambda p: getattr(p, "__name__", "")
)
def test_a_planted_fault_is_named(
    guest: Driver, plant: Callable[[Driver], Writes], rule: str, where: str
) -> None:
    """The finding says what is wrong, and where; without the fault there is none."""
    with planted(guest, plant(guest)):
        guest.found_fault = False
        found = rules(guest)
        assert guest.found_fault
        assert_fits(guest.line("dsos audit"))
    assert [place for named, place in found if named == rule and where in place], found
    assert rules(guest) == []


def test_a_log_that_has_gone_round() -> None:
    """Its newest entry stands before older ones."""
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        for _ in range(2):
            driver.line("mailbox relocate 600")
        klos = driver.models("klos")
        assert klos["relocations"] > klos["relocation_log"]["count"]
        assert rules(driver) == []
        with planted(driver, old_slot_left_present(driver)):
            assert [rule for rule, _ in rules(driver)] == ["old-slot-present"]


def test_dsos_left_in_eax(guest: Driver) -> None:
    """An application's register that holds the selector."""
    before = guest.session.target.registers.read().gpr["eax"]
    guest.line(f"set eax {guest.models('klos')['dsos']}")
    found = rules(guest)
    guest.line(f"set eax {before}")
    assert [rule for rule, _ in found] == ["application-register"]
    assert found[0][1].endswith("EAX")


def test_a_table_aliased_below_the_limit(guest: Driver) -> None:
    """A page of the GDT, mapped where an application reaches it."""
    target = guest.session.target
    assert target.physical is not None
    cr3 = target.registers.read().cr3 & ~0xFFF
    directory = target.physical.read(cr3, 4096)
    entry = next(i for i in range(768) if directory[4 * i] & 1)
    table = int.from_bytes(directory[4 * entry : 4 * entry + 4], "little") & ~0xFFF
    klos = guest.models("klos")
    frame = klos["gdt"] - klos["os_base"]
    with planted(guest, [(klos["os_base"] + table + 4 * 1023, u32(frame | 7))]):
        found = rules(guest)
    assert [rule for rule, _ in found] == ["aliased"]


def test_a_number_that_follows_dsos_is_a_leak(guest: Driver) -> None:
    """The same word of an application, found after one relocation and again after the next."""
    target = guest.session.target
    assert target.linear_writer is not None
    word = (target.registers.read().gpr["esp"] - 0x200) & ~3
    severities = []
    for audited in audit_each(target, guest.session.symbols, 3, 20.0):
        severities += [f.severity for f in audited.findings.findings if f"{word:#010x}" in f.where]
        new = coming_selector(guest)
        target.linear_writer.write(word, u32(new))
    assert severities == ["note", "error"]


def test_a_guest_that_runs_is_not_audited(guest: Driver) -> None:
    """Tables that change under the reader prove nothing; ``--stop`` is the way."""
    guest.line("c &")
    with pytest.raises(CommandError, match="--stop"):
        guest.line("dsos audit")
    assert wrong(guest.models("dsos audit --stop")) <= {STOPPED_IN_IT}
    guest.line("interrupt")


def test_wherever_it_stops(guest: Driver) -> None:
    """At any instruction: the middle of a relocation is named, and nothing else is found."""
    seen = set()
    for _ in range(40):
        guest.line("c &")
        guest.line("interrupt")
        seen |= wrong(guest.models("dsos audit"))
    assert seen <= {STOPPED_IN_IT}


def wrong(audit: Document) -> set[str]:
    """Leave out notes: an application may hold a number like DSOS's by chance."""
    return {f["rule"] for f in audit["findings"] if f["severity"] != "note"}
