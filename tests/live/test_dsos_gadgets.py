"""Gadgets in the real KLOS, and planted ones."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
from tests.live.test_dsos_audit import planted
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]

Document = dict[str, Any]


@pytest.fixture(scope="module")
def ready() -> Iterator[Driver]:
    """Boot KLOS."""
    make(GUEST)
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        yield driver


def gadgets(driver: Driver, kind: str) -> list[Document]:
    found = json.loads(driver.line("dsos gadgets --json"))["gadgets"]
    return [gadget for gadget in found if gadget["kind"] == kind]


def test_nothing_of_its_own_hands_dsos_out(ready: Driver) -> None:
    """The prologues clear what they loaded."""
    assert gadgets(ready, "leak") == []
    assert_fits(ready.line("dsos gadgets"))
    assert_fits(ready.line("dsos gadgets --all"))


def test_every_prologue_has_a_middle(ready: Driver) -> None:
    """One for each site that is code, behind the load of the immediate."""
    sites = [s for s in ready.models("dsos")["sites"] if s["instruction"]]
    middles = gadgets(ready, "middle")
    assert {m["address"] for m in middles} == {s["address"] + 4 for s in sites}
    assert all(m["instructions"][0]["text"] == "mov ds, eax" for m in middles)


def test_the_return_gate_and_commits(ready: Driver) -> None:
    """The one call of the gate, and the places that commit with EAX."""
    (gate,) = gadgets(ready, "gate")
    assert gate["symbol"].startswith("handler_return")
    assert gadgets(ready, "commit")


def test_a_planted_gadget_is_found(ready: Driver) -> None:
    """``mov eax, DSOS; ret`` in OS code, and the same selector in OS data before a bad byte."""
    klos = ready.models("klos")
    selector = klos["dsos"].to_bytes(4, "little")
    code = ready.session.symbols
    assert code is not None
    place, cell = code.address("orders_done"), klos["relocation_log"]["address"]
    assert place is not None
    with planted(ready, [(place, b"\xb8" + selector + b"\xc3"), (cell, b"\xbf" + selector)]):
        (leak,) = gadgets(ready, "leak")
        held = gadgets(ready, "exception")
    assert (leak["address"], len(leak["instructions"])) == (place, 2)
    assert leak["why"] == "returns to the caller with DSOS in EAX"
    assert [gadget["address"] for gadget in held] == [cell]
    assert "EDI" in held[0]["why"]
    assert gadgets(ready, "leak") == []
