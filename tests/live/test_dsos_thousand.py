"""A thousand relocations by each way of causing them, and an audit of everything after each."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from klosdbg.errors import CommandError
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

WAYS = ["probe", "mailbox", "call"]
WANTED = 1000


@pytest.fixture
def ready() -> Iterator[Driver]:
    """Boot KLOS."""
    make(GUEST)
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        yield driver


@pytest.mark.parametrize("how", WAYS)
def test_an_audit_after_each(ready: Driver, how: str) -> None:
    """All came, one by one, the chain is whole, and no audit found a fault."""
    before = ready.models("dsos")
    printed = ready.line(f"dsos trigger {WANTED} --how {how} --audit --json").splitlines()
    *audits, added = map(json.loads, printed)
    findings = [finding for audit in audits for finding in audit["findings"]]
    assert [f for f in findings if f["severity"] != "note"] == []
    assert (added["done"], added["faults"], added["notes"]) == (WANTED, 0, len(findings))
    moves = [move for audit in audits for move in audit["relocations"]]
    assert len(audits) == len(moves) == WANTED
    assert moves[0]["old"] == before["selector"]
    assert all(a["new"] == b["old"] for a, b in pairwise(moves))
    assert {move["cause"] for move in moves} == {"np" if how == "probe" else "mailbox"}
    assert {move["sites"] for move in moves} == {len(before["sites"])}
    after = ready.models("dsos")
    assert (after["selector"], after["relocations"]) == (moves[-1]["new"], moves[-1]["seq"])
    assert not ready.found_fault
    assert ready.models("mailbox ping 7")["result"] == 7


@pytest.mark.parametrize("how", WAYS)
def test_all_at_once(ready: Driver, how: str) -> None:
    """Without the audits it takes a second or few, and says the same."""
    before = ready.models("dsos")
    done = ready.models(f"dsos trigger {WANTED} --how {how}")
    moves = done["relocations"]
    assert (len(moves), done["lost"], done["wrong_sites"]) == (WANTED, 0, [])
    assert moves[0]["old"] == before["selector"]
    assert all(a["new"] == b["old"] for a, b in pairwise(moves))
    assert [move["seq"] - moves[0]["seq"] for move in moves] == list(range(WANTED))
    assert ready.models("dsos audit")["findings"] == []
    assert ready.models("mailbox ping 7")["result"] == 7


@pytest.mark.parametrize("how", WAYS)
def test_what_is_printed(ready: Driver, how: str) -> None:
    """The sum, how far it is, and what was written; nothing of audits that found nothing."""
    told: list[str] = []
    ready.session.progress = told.append
    printed = ready.line(f"dsos trigger 9 --how {how} --audit")
    assert printed.startswith(f"9 relocations by {how}, an audit after each, ")
    assert "no findings" in printed
    assert "written: " in printed
    assert_fits(printed)
    assert told == [f"{n} of 9 relocations" for n in range(1, 10)]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("audit", ["", "--audit"])
def test_ctrl_c(ready: Driver, how: str, audit: str) -> None:
    """It ends with what was done; the guest is stopped, sound, and answers."""
    told: list[str] = []

    def interrupted(message: str) -> None:
        told.append(message)
        if len(told) == 2:
            raise KeyboardInterrupt

    ready.session.progress = interrupted
    with pytest.raises(KeyboardInterrupt):
        ready.line(f"dsos trigger {WANTED} --how {how} {audit}")
    printed = ready.out.getvalue()  # type: ignore[attr-defined]
    done = int(told[-1].split()[0])
    assert f"{done} of {WANTED} relocations" in printed
    assert not ready.session.control.running
    assert ready.models("dsos audit")["findings"] == []
    if how != "probe" or not audit:
        assert ready.models("mailbox ping 7")["result"] == 7


@pytest.mark.parametrize("how", WAYS)
def test_a_fault_is_found_between_two(ready: Driver, how: str) -> None:
    """A second descriptor, planted before, is told with the relocation after which it was seen."""
    klos = ready.models("klos")
    spare = klos["ldt"] + 8 * 4094
    assert ready.session.target.linear_writer is not None
    ready.session.target.linear_writer.write(spare, bytes.fromhex("ffff000000f3cf00"))
    printed = ready.line(f"dsos trigger 2 --how {how} --audit")
    assert printed.count("second-dsos") == 2
    assert "2 relocations" in printed
    assert "2 findings" in printed
    assert ready.found_fault
    assert_fits(printed)


@pytest.mark.parametrize("how", WAYS)
def test_a_guest_that_does_not_move_dsos(ready: Driver, how: str) -> None:
    """A relocation that returns at once moves nothing: said after the time-out, in one line."""
    function = ready.session.symbols.address("dsos_relocate")  # type: ignore[union-attr]
    assert ready.session.target.linear_writer is not None
    assert function is not None
    ready.session.target.linear_writer.write(function, b"\xc3")
    ready.session.timeout = 0.5
    with pytest.raises(CommandError, match=r"no relocation within 0\.5 s, after 0 of 2"):
        ready.line(f"dsos trigger 2 --how {how} --audit")
    assert not ready.session.control.running
