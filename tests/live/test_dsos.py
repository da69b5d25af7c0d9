"""DSOS on the real KLOS: where it is, what holds its selector, and how it moves."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.layout import members
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
from tests.live.patience import PATIENCE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture(scope="module")
def ready() -> Iterator[Driver]:
    """Boot KLOS; tests that change it put it back."""
    make(GUEST)
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        yield driver


def test_where_dsos_is(ready: Driver) -> None:
    """Slot and selector are what klos_info says, and every prologue agrees."""
    klos, dsos = ready.models("klos"), ready.models("dsos")
    assert dsos["selector"] == klos["dsos"]
    assert dsos["slot"] == klos["dsos"] >> 3
    assert dsos["table"] == ("ldt" if klos["dsos"] & 4 else "gdt")
    assert len(dsos["sites"]) == klos["sites"]["count"]
    assert all(site["agrees"] for site in dsos["sites"])
    held = {site["selector"] for site in dsos["sites"] if site["kind"] != "bare"}
    assert held == {klos["dsos"]}
    assert_fits(ready.line("dsos"))


def test_sites_that_agree_are_counted(ready: Driver) -> None:
    """One line for each value; ``--sites`` lists them, and one that disagrees is always listed."""
    dsos = ready.models("dsos")
    of_dsos = [site for site in dsos["sites"] if site["selector"] == dsos["selector"]]
    folded = ready.line("dsos")
    assert f"{len(of_dsos)} sites with {dsos['selector']:#06x}: " in folded
    assert len(folded.splitlines()) < 12
    listed = ready.line("dsos --sites").splitlines()
    assert all(any(f"{s['address']:#010x}" in line for line in listed) for s in dsos["sites"])
    assert_fits("\n".join(listed))
    site = of_dsos[3]
    ready.line(f"set {site['address']:#x} 0x1237")
    told = [line for line in ready.line("dsos").splitlines() if line.startswith("0x")]
    ready.line(f"set {site['address']:#x} {site['selector']}")
    assert len(told) == 1
    assert f"{site['address']:#010x}" in told[0]


def test_absent_selectors_count_down(ready: Driver) -> None:
    """The next relocation comes with the third absent selector."""
    before = ready.models("dsos")
    ready.line("mailbox touch 1")
    after = ready.models("dsos")
    assert after["np_faults"] == before["np_faults"] + 1
    assert after["np_until_next"] == 3 - after["np_faults"] % 3


@pytest.mark.parametrize("how", ["probe", "mailbox", "call"])
def test_one_relocation_in_full(ready: Driver, how: str) -> None:
    """Every site that moved is shown before and after, and what was written is told."""
    before = ready.models("dsos")
    done = ready.models(f"dsos trigger --how {how}")
    (move,) = done["relocations"]
    patched = [site for site in before["sites"] if site["kind"] != "bare"]
    assert [p["address"] for p in move["patched"]] == [site["address"] for site in patched]
    code = [p for p in move["patched"] if p["before"].startswith("mov")]
    assert {(p["before"], p["after"]) for p in code} == {
        (f"mov eax, {move['old']:#x}", f"mov eax, {move['new']:#x}")
    }
    assert done["written"]
    assert_fits(ready.line(f"dsos trigger --how {how}"))
    assert_fits(ready.line(f"dsos trigger 9 --how {how}"))


def test_how_long_a_relocation_takes(ready: Driver) -> None:
    """The event ring tells for those that it still holds: more than nothing, less than a second."""
    moves = ready.models("dsos trigger 3")["relocations"]
    assert all(0 < move["ticks"] < 10**10 for move in moves)


def test_an_audit_after_every_relocation() -> None:
    """Stopped at the event-return gate, forty times, while an application loads absent ones."""
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        driver.line("mailbox start touch 99999999")
        printed = driver.line("dsos audit --at-every-relocation 40 --json").splitlines()
        documents = list(map(json.loads, printed))
        assert_fits(driver.line("dsos audit --at-every-relocation 2"))
    found = [finding for d in documents for finding in d["findings"]]
    assert [f for f in found if f["severity"] != "note"] == []
    assert len(documents) == 40
    moves = [move for d in documents for move in d["relocations"]]
    assert len(moves) == 40
    assert all(a["new"] == b["old"] for a, b in pairwise(moves))
    assert {d["schema"] for d in documents} == {"klosdbg/findings/1"}


def test_without_relocations_the_audit_says_so(ready: Driver) -> None:
    """Nothing moves DSOS in a system that idles."""
    ready.session.timeout = 0.3
    with pytest.raises(CommandError, match=r"no relocation within 0\.3 s, after 0 of 1"):
        ready.line("dsos audit --at-every-relocation 1")
    ready.session.timeout = PATIENCE


def written(driver: Driver, field: str, value: int) -> int:
    """Write a field of klos_info, and return what it held."""
    info = driver.models("klos")
    offset = next(member.offset for member in members(KlosInfo) if member.name == field)
    width = next(member.size for member in members(KlosInfo) if member.name == field)
    driver.line(f"set {info['address'] + offset:#x} {value} -w {' bw d'[width]}")
    return int(info[field])


def test_a_guest_without_dsos(ready: Driver) -> None:
    """A null selector is no DSOS, and the error says where to look."""
    before = written(ready, "dsos", 0)
    with pytest.raises(CommandError, match=r"no DSOS: klos_info\.dsos is 0x0000: null"):
        ready.line("dsos")
    assert {"dsos-missing"} <= {f["rule"] for f in ready.models("dsos audit")["findings"]}
    written(ready, "dsos", before)
    assert ready.models("dsos audit")["findings"] == []


@pytest.mark.parametrize("how", ["probe", "mailbox"])
def test_a_mailbox_that_never_answers(ready: Driver, how: str) -> None:
    """A time-out; the request is taken back, and DSOS is where it was."""
    dsos = ready.models("dsos")
    mailbox = ready.models("klos")["mailbox"]
    scratch = ready.models("klos")["relocation_log"]["address"]
    written(ready, "mailbox", scratch)
    ready.line(f"set {scratch:#x} 0")
    ready.session.timeout = 0.3
    with pytest.raises(CommandError, match=r"did not answer .* taken back"):
        ready.line(f"dsos trigger --how {how}")
    ready.session.timeout = PATIENCE
    written(ready, "mailbox", mailbox)
    assert ready.models("dsos")["selector"] == dsos["selector"]
    assert ready.models("mailbox ping 4")["result"] == 4


def test_a_relocation_in_progress(ready: Driver) -> None:
    """Stopped inside the guest's relocation nothing is judged; behind it all agrees."""
    with pytest.raises(CommandError, match="stopped"):
        stop_at(ready, "random_below")
    ready.line("finish")
    found = ready.models("dsos audit")["findings"]
    assert [f["rule"] for f in found] == ["relocation-in-progress"]
    assert ready.models("dsos")["sequence"] % 2
    assert "under way" in ready.line("dsos")
    ready.line("until return_gate")
    assert ready.models("dsos audit")["findings"] == []
    assert ready.models("dsos trigger")["wrong_sites"] == []


def stop_at(driver: Driver, name: str) -> None:
    """Ask for a relocation, and stop on its way."""
    driver.line(f"b {name}")
    try:
        driver.line("mailbox relocate 1")
    finally:
        driver.line(f"del {driver.session.breakpoints[-1].number}")
