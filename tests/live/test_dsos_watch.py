"""Watching relocations while the guest runs: every one, without a stop."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from klosdbg.errors import CommandError
from klosdbg.klos import watch
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.find import read_one
from klosdbg.ports import Target
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
from tests.live.patience import until
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def probing() -> Iterator[Driver]:
    """Boot KLOS, and start an application that loads absent selectors for ever."""
    make(GUEST)
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        driver.line("mailbox start touch 99999999")
        yield driver


def test_json_streams_a_line_for_each(probing: Driver) -> None:
    """As many as asked for, each beginning where the one before ended."""
    moves = list(map(json.loads, probing.line("dsos watch --events 50 --json").splitlines()))
    assert len(moves) == 50
    assert {move["schema"] for move in moves} == {"klosdbg/relocation/1"}
    assert all(a["new"] == b["old"] for a, b in pairwise(moves) if a["seq"] + 1 == b["seq"])
    assert not probing.session.control.running


def test_the_map(probing: Driver) -> None:
    """Text ends in both tables as a map, with the last hops on it."""
    shown = probing.line("dsos watch --events 400")
    assert_fits(shown)
    rows = [row for row in shown.splitlines() if row.endswith("|")]
    assert len(rows) == 32
    assert sum(row.count("1") for row in (r.partition("|")[2] for r in rows)) == 1
    assert "a second" in shown
    assert "p = " in shown


def test_a_guest_that_runs_goes_on(probing: Driver) -> None:
    """Watched in the background it is neither stopped nor slowed by stops."""
    probing.line("c &")
    assert len(probing.line("dsos watch --events 20 --json").splitlines()) == 20
    assert probing.session.control.running
    probing.line("interrupt")


def test_the_log_goes_round_while_it_is_looked_at(
    probing: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a host that is busy just then: what it holds is shown, and the rest is counted."""

    def late(target: Target, address: int, structure: type[KlosInfo]) -> KlosInfo:
        info = read_one(target, address, structure)
        round_ = info.relocations + info.relocation_log.count
        until(lambda: read_one(target, address, structure).relocations > round_)
        return info

    monkeypatch.setattr(watch, "read_one", late)
    moves = list(map(json.loads, probing.line("dsos watch --events 1500 --json").splitlines()))
    assert len(moves) == 1500
    numbers = [move["seq"] for move in moves]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] > 1500


def test_a_stop_ends_the_watch(probing: Driver) -> None:
    """At a breakpoint there is nothing to wait for."""
    probing.line("b load_fs")
    assert len(probing.line("dsos watch --json").splitlines()) <= 1
    assert not probing.session.control.running


def test_nothing_to_watch() -> None:
    """Where DSOS stays, the time-out says what would move it."""
    with driving(IMAGE, append="seed=5") as driver:
        driver.line("until klos_ready")
        driver.session.timeout = 0.3
        with pytest.raises(CommandError, match=r"0 of 3 relocations within 0\.3 s"):
            driver.line("dsos watch --events 3")
        assert not driver.session.control.running
