"""The protection on trial, in the real KLOS: attacks by name, and guessing measured."""

from collections import Counter
from collections.abc import Iterator

import pytest
from klosdbg.errors import CommandError, UsageError
from klosdbg.klos.statistics import even_p
from tests.build import make
from tests.live.driver import Driver, assert_fits, driving
from tests.live.klos import GUEST, IMAGE
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture(scope="module")
def ready() -> Iterator[Driver]:
    """Boot KLOS with a fixed seed."""
    make(GUEST)
    with driving(IMAGE, append="seed=11") as driver:
        driver.line("until klos_ready")
        yield driver


def test_one_attack(ready: Driver) -> None:
    """Claim, verdict, and what it cost: 150 wrong guesses, 50 relocations."""
    (row,) = ready.models("attack guess")["tests"]
    assert (row["name"], row["result"], row["held"]) == ("guess", "pass", True)
    assert (row["cost"]["np_faults"], row["cost"]["relocations"]) == (150, 50)
    assert "third" in row["claim"]
    assert_fits(ready.line("attack guess"))


def test_the_hole_that_the_paper_overlooks(ready: Driver) -> None:
    """LAR finds DSOS without a fault, so nothing moves; the beginning of the name is enough."""
    (row,) = ready.models("attack lar")["tests"]
    assert (row["name"], row["held"]) == ("lar-scan", False)
    assert (row["cost"]["np_faults"], row["cost"]["relocations"]) == (0, 0)
    assert_fits(ready.line("attack lar"))


def test_every_attack(ready: Driver) -> None:
    """One by one they end as they do in one go."""
    rows = ready.models("attack")["tests"]
    assert len(rows) >= 20
    assert {row["result"] for row in rows} <= {"pass", "not-enforced"}
    assert all(row["reason"] and row["cost"] for row in rows)
    ready.line("mailbox attacks")
    assert ready.models("dsos audit")["findings"] == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("attack nonsense", "no attack 'nonsense'"),
        ("attack gate-", "did you mean gate-nt or gate-tf or gate-if"),
        ("attack ges", "did you mean guess"),
    ],
)
def test_an_attack_that_is_not_there(ready: Driver, line: str, why: str) -> None:
    """The error names what is near."""
    with pytest.raises(CommandError, match=why):
        ready.line(line)


@pytest.mark.parametrize(
    "line",
    ["attack lar --rounds 3", "attack guess --rounds 0", "attack guess --rounds 1 --simulate 1"],
)
def test_wrong_usage(ready: Driver, line: str) -> None:
    """Statistics are for guessing, and of at least one round."""
    with pytest.raises(UsageError):
        ready.line(line)


def test_guessing_in_the_guest(ready: Driver) -> None:
    """As many rounds as asked; their rate agrees with the exact one, and with the simulation's."""
    played = ready.models("attack guess --rounds 60000")
    assert played["rounds"] >= 60000
    assert played["slots"] == 16375
    assert played["contains_exact"]
    simulated = ready.models(f"attack guess --simulate 1000000 --slots {played['slots']}")
    assert simulated["contains_exact"]
    assert played["low"] <= simulated["rate"] <= played["high"]
    assert_fits(ready.line("attack guess --rounds 100"))


def test_every_slot_is_as_likely(ready: Driver) -> None:
    """Chi-square of the slots of 2,000 relocations over 64 equal bins."""
    bins: Counter[int] = Counter()
    for _ in range(2):
        moves = ready.models("dsos trigger 1000 --how mailbox")["relocations"]
        bins.update((move["new"] >> 3 | (move["new"] & 4) << 11) >> 8 for move in moves)
    assert set(bins) == set(range(64))
    assert even_p([bins[i] for i in range(64)]) > 0.001
