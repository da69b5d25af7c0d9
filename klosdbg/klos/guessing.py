"""How often DSOS is guessed: measured in the guest, or simulated with the guest's policy."""

from collections.abc import Callable
from random import Random

from klosdbg.errors import CommandError
from klosdbg.klos.audit.facts import read_facts
from klosdbg.klos.dsos import ABSENT_BEFORE_MOVE
from klosdbg.klos.find import booted_klos
from klosdbg.klos.guess_models import Guesses
from klosdbg.klos.models import MailboxAnswer
from klosdbg.ports import Symbols, Target

KLOS_SLOTS = 2 * 8192 - 9
_GUESSER = "guesser"
_MOST_ROUNDS = 20_000

Ask = Callable[[str, int], MailboxAnswer]


def free_slots(target: Target, symbols: Symbols | None) -> int:
    """Count the slots that DSOS may be in: filler, and its own."""
    facts = read_facts(target, booted_klos(target, symbols).info)
    return 1 + sum(raw == facts.filler for slots in facts.tables for raw in slots.raws)


def simulate(rounds: int, slots: int, seed: int) -> Guesses:
    """Play rounds of three different guesses against a DSOS that moves after each round.

    As in the guest a move never ends where it began, and every slot else is as likely. Raise
    ``CommandError`` for too few slots.
    """
    if slots <= ABSENT_BEFORE_MOVE:
        raise CommandError(f"{slots} slots are too few to guess from: at least 4")
    draw = Random(seed).random
    waits: list[int] = []
    place, last = 0, 0
    for number in range(1, rounds + 1):
        place = _other(int(draw() * (slots - 1)), place)
        first = int(draw() * slots)
        second = _other(int(draw() * (slots - 1)), first)
        third = _other(int(draw() * (slots - 2)), min(first, second))
        third = _other(third, max(first, second))
        if place in (first, second, third):
            waits.append(number - last)
            last = number
    return Guesses("simulation", seed, rounds, slots, tuple(waits))


def _other(drawn: int, taken: int) -> int:
    return drawn + (drawn >= taken)


def measure(target: Target, symbols: Symbols | None, rounds: int, ask: Ask) -> Guesses:
    """Let an application of the guest guess, again and again, until so many rounds are played.

    A hit is caught at the next event, which ends the application. Faults are counted, so the wait
    for a success is known to within one guess.
    """
    slots, seed = free_slots(target, symbols), booted_klos(target, symbols).info.seed
    waits: list[int] = []
    played, since = 0, 0
    while played < rounds:
        faults, caught = _play(target, symbols, min(rounds - played, _MOST_ROUNDS), ask)
        spent = max(-(-faults // ABSENT_BEFORE_MOVE), 1)
        played, since = played + spent, since + spent
        if caught:
            waits.append(since)
            since = 0
    return Guesses("guest", seed, played, slots, tuple(waits))


def _play(target: Target, symbols: Symbols | None, rounds: int, ask: Ask) -> tuple[int, bool]:
    before = booted_klos(target, symbols).info
    answer = ask(f"run {_GUESSER} {rounds}", 0)
    if answer.failure:
        raise CommandError(answer.failure)
    after = booted_klos(target, symbols).info
    return after.np_faults - before.np_faults, after.dsos_caught > before.dsos_caught
