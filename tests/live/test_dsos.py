"""DSOS on the real KLOS: where it is, what holds its selector."""

from collections.abc import Iterator

import pytest
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
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


def test_absent_selectors_count_down(ready: Driver) -> None:
    """The next relocation comes with the third absent selector."""
    before = ready.models("dsos")
    ready.line("mailbox touch 1")
    after = ready.models("dsos")
    assert after["np_faults"] == before["np_faults"] + 1
    assert after["np_until_next"] == 3 - after["np_faults"] % 3
