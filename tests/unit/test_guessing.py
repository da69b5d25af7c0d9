"""The statistics of guessing DSOS, and the simulation of the guest's policy."""

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klosdbg.errors import CommandError
from klosdbg.klos.guess_models import PAPER, Guesses
from klosdbg.klos.guessing import KLOS_SLOTS, simulate
from klosdbg.klos.statistics import even_p, geometric_quartiles, interval
from klosdbg.views import Style, data, text

SEEDS = (1, 2, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_million_rounds(seed: int) -> None:
    """The 99.9 % interval contains three out of all free slots, and the waits are geometric."""
    played = simulate(10**6, KLOS_SLOTS, seed)
    low, high = played.interval
    assert low <= 3 / KLOS_SLOTS <= high
    assert played.agrees
    assert not played.found_fault
    assert even_p(played.quarters) > 0.001
    assert sum(played.waits) <= played.rounds
    assert min(played.waits) >= 1


def test_the_paper_s_number() -> None:
    """Figure and sum of the paper's section 2.3.2, and how near the exact one is."""
    assert f"{PAPER:.2e}" == "1.83e-04"
    assert math.isclose(PAPER, 3 / KLOS_SLOTS, rel_tol=0.001)


def test_few_slots() -> None:
    """With five slots three guesses hit three times in five; with four, three in four."""
    for slots in (4, 5):
        played = simulate(20_000, slots, 3)
        assert abs(played.rate - 3 / slots) < 0.02
        assert played.agrees
    with pytest.raises(CommandError, match="too few"):
        simulate(1, 3, 1)


def test_a_seed_repeats() -> None:
    """The same seed plays the same rounds, another one does not."""
    first, again, other = (simulate(50_000, 1000, seed) for seed in (4, 4, 5))
    assert first == again
    assert first.waits != other.waits


def test_a_wrong_rate_is_a_fault() -> None:
    """Twice the successes that chance allows are reported."""
    assert Guesses("guest", 1, 10**6, KLOS_SLOTS, tuple([2700] * 370)).found_fault


def test_the_interval_of_the_text_books() -> None:
    """Wilson's interval: 10 of 100 at 95 % is 0.0552 to 0.1744."""
    low, high = interval(10, 100, 0.95)
    assert (round(low, 4), round(high, 4)) == (0.0552, 0.1744)
    assert interval(0, 0, 0.99) == (0.0, 1.0)


@given(st.integers(1, 10**6), st.data())
def test_the_interval_contains_what_was_seen(trials: int, drawn: st.DataObject) -> None:
    """Whatever was seen."""
    successes = drawn.draw(st.integers(0, trials))
    low, high = interval(successes, trials, 0.999)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


def test_even_counts() -> None:
    """Chi-square against the tables: 63 degrees of freedom, 103.44 at p = 0.001."""
    draws = Counter(Random(3).choices(range(64), k=6400))
    assert even_p([draws[i] for i in range(64)]) > 0.001
    assert even_p([100] * 63 + [220]) < 0.001
    shift = math.sqrt(103.44 * 100 / 2)
    assert math.isclose(even_p([100 + shift, 100 - shift, *[100] * 62]), 0.001, rel_tol=0.03)
    assert even_p([0, 0]) == even_p([5]) == 1.0


@given(st.floats(1e-6, 0.5))
def test_quartiles(probability: float) -> None:
    """By the quartile the law has reached the share, by the trial before it has not."""
    for share, bound in zip((0.25, 0.5, 0.75), geometric_quartiles(probability), strict=True):
        assert 1 - (1 - probability) ** bound >= share - 1e-9
        assert 1 - (1 - probability) ** (bound - 1) < share + 1e-9


@pytest.mark.parametrize("rounds", [1, 10**5, 10**6])
def test_the_views(rounds: int) -> None:
    """Text fits the terminal, JSON has the schema and the numbers."""
    played = simulate(rounds, KLOS_SLOTS, 1)
    assert max(map(len, text(played, Style()).splitlines())) <= 80
    document = data(played, Style())
    assert document["schema"] == "klosdbg/guesses/1"
    assert document["successes"] == len(played.waits)
    assert document["exact"] == 3 / KLOS_SLOTS
