"""Running the guest's attacks one by one: what each costs, and how it ended."""

import difflib
from collections.abc import Iterator
from dataclasses import replace

from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosApplication, KlosInfo
from klosdbg.klos.constants import Application
from klosdbg.klos.find import booted_klos, read_array
from klosdbg.klos.guessing import Ask
from klosdbg.klos.models import Cost, MailboxAnswer, Outcome, Outcomes
from klosdbg.klos.outcomes import read_outcomes
from klosdbg.ports import Symbols, Target

ALL = "all"


def attack_names(target: Target, symbols: Symbols | None) -> tuple[str, ...]:
    """List the attacks that the image holds."""
    info = booted_klos(target, symbols).info
    found = read_array(target, info.applications, KlosApplication, "applications")
    return tuple(a.name for a in found if a.kind == Application.ATTACK)


def chosen_names(names: tuple[str, ...], wanted: str) -> tuple[str, ...]:
    """Choose all attacks, or the one of that name or of a name that begins so.

    Raise ``CommandError`` where none or several do.
    """
    if wanted == ALL:
        return names
    beginning = [name for name in names if name.startswith(wanted)]
    if wanted in names or len(beginning) == 1:
        return (wanted,) if wanted in names else tuple(beginning)
    close = beginning or difflib.get_close_matches(wanted, names, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
    raise CommandError(f"no attack {wanted!r}: {hint}")


def run_attacks(
    target: Target, symbols: Symbols | None, names: tuple[str, ...], ask: Ask
) -> Outcomes:
    """Run attacks one after the other, and count what each costs.

    Raise ``CommandError`` where there are none, or KLOS does not run one.
    """
    ran = list(_each(target, symbols, names, ask))
    if not ran:
        raise CommandError("this image holds no attack (klos_info.applications)")
    last, answer = ran[-1]
    return replace(last, tests=tuple(o.tests[0] for o, _ in ran), asked=answer)


def _each(
    target: Target, symbols: Symbols | None, names: tuple[str, ...], ask: Ask
) -> Iterator[tuple[Outcomes, MailboxAnswer]]:
    for name in names:
        before = booted_klos(target, symbols).info
        answer = ask(f"attacks {name}", 0)
        if answer.failure:
            raise CommandError(answer.failure)
        outcomes = read_outcomes(target, symbols, "attacks")
        cost = _cost(before, booted_klos(target, symbols).info)
        (outcome,) = outcomes.tests or (Outcome(name, "fail", "it left no report", ""),)
        yield replace(outcomes, tests=(replace(outcome, cost=cost),)), answer


def _cost(before: KlosInfo, after: KlosInfo) -> Cost:
    ticks = after.tick_count - before.tick_count
    return Cost(
        milliseconds=ticks * 1000 // (after.tick_rate or 1),
        np_faults=after.np_faults - before.np_faults,
        process_faults=after.process_faults - before.process_faults,
        relocations=after.relocations - before.relocations,
        caught=after.dsos_caught - before.dsos_caught,
    )
