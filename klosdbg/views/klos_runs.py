"""Views of what KLOS did when asked: answers, self-tests, attacks, figure 4."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from klosdbg.klos.models import (
    Cost,
    MailboxAnswer,
    MeasuredCall,
    NativeBench,
    Outcome,
    Outcomes,
    ServiceBench,
)
from klosdbg.views.base import WIDTH, Style, columns, data, text

_COLORS = {"pass": "green", "fail": "red", "not-enforced": "yellow"}
_MECHANISMS = ("trap", "sysenter", "design_a", "design_b")
_SITUATIONS = ("best", "average", "worst")
_TITLES = {
    "trap": "trap",
    "sysenter": "SYSENTER",
    "design_a": "Design A",
    "design_b": "Design B",
    "syscall": "SYSCALL",
    "int80": "int 0x80",
}

# The text of the paper gives clock cycles for the best case only, and for all cases this claim.
PAPER_BEST = {"trap": 181, "sysenter": 92, "design_a": 22, "design_b": 32}
PAPER_CLAIM = {"trap": 4.0, "sysenter": 2.0}

_LIMITS = (
    "Counted in instructions the trap takes the fewest: the paper's advantage is in cycles, which "
    "emulators do not have. Cycles come from hardware KVM and from --native.",
    "The paper's best case has Design A (22) ahead of Design B (32), while its text claims that B "
    "always wins.",
    "The paper's 'order of magnitude' stands against its own 4x and 2x.",
    "The system that the paper measured had no interrupts and no scheduler.",
    "Emptying the caches (WBINVD) needs ring 0: the worst case asks the event core for it.",
)
_NATIVE_LIMITS = (
    "Design B is what a KLOS call does to the segments, in a Linux process with LDT segments.",
    "SYSCALL and int 0x80 contain the host kernel's entry, exit and mitigations, and whatever a "
    "hypervisor adds.",
    "Ticks of the time stamp counter are not core clock cycles.",
)


@text.register
def _(model: MailboxAnswer, _style: Style) -> str:
    lines = [
        f"{c.field} ({c.address:#010x}): {_quoted(c.before)} -> {_quoted(c.after)}"
        for c in model.changes
    ]
    said = f": {model.text}" if model.text else ""
    lines.append(f"{model.status}, result {model.result} ({model.result:#x}){said}")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return value or "(empty)"


@data.register
def _(model: MailboxAnswer, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/mailbox/1",
        "command": model.command,
        "argument": model.argument,
        "status": model.status,
        "result": model.result,
        "text": model.text,
        "written": [
            {"field": c.field, "address": c.address, "before": c.before, "after": c.after}
            for c in model.changes
        ],
    }


@text.register
def _(model: Outcomes, style: Style) -> str:
    lines = [line for test in model.tests for line in _outcome(test, style)]
    counts = ", ".join(f"{model.count(result)} {result}" for result in _COLORS)
    lines.append(style.paint("red" if model.found_fault else "green", counts))
    if model.count("not-enforced"):
        lines.append("not-enforced: the emulator at hand does not check it ('doctor' says more)")
    return "\n".join([*lines, *_asked(model.asked)])


def _outcome(test: Outcome, style: Style) -> Iterator[str]:
    held = "" if test.held is None else ", held" if test.held else ", did not hold"
    verdict = style.paint(_COLORS[test.result], test.result)
    yield f"{verdict}  {style.paint('bold', test.name)}{held}"
    for line in (test.claim, test.reason):
        if line:
            yield _wrap(line, "    ")
    if test.cost:
        yield f"    {_cost(test.cost)}"


def _cost(cost: Cost) -> str:
    caught = f", caught {cost.caught} times" if cost.caught else ""
    return (
        f"within {cost.milliseconds} ms; {cost.np_faults} absent selectors, "
        f"{cost.process_faults} faults, {cost.relocations} relocations{caught}"
    )


def _asked(answer: MailboxAnswer | None) -> list[str]:
    if answer is None or not answer.changes:
        return []
    names = ", ".join(c.field.removeprefix("mailbox.") for c in answer.changes)
    place = answer.changes[0].address
    sentence = f"written to the mailbox near {place:#010x}: {names} ({answer.command})"
    return [textwrap.fill(sentence, WIDTH, break_on_hyphens=False)]


def _wrap(string: str, indent: str) -> str:
    return textwrap.fill(string, WIDTH, initial_indent=indent, subsequent_indent=indent)


@data.register
def _(model: Outcomes, _style: Style) -> dict[str, object]:
    return {
        "schema": f"klosdbg/{model.kind}/1",
        "enforced": model.enforced,
        "tests": [
            {
                "name": t.name,
                "result": t.result,
                "reason": t.reason,
                "claim": t.claim,
                "held": t.held,
                "cost": asdict(t.cost) if t.cost else None,
            }
            for t in model.tests
        ],
    }


@text.register
def _(model: ServiceBench, style: Style) -> str:
    parts = [style.paint("bold", f"{model.counter}: {model.meaning}"), _table(model)]
    parts.append(_limits(_LIMITS))
    return "\n\n".join([*parts, *_asked(model.asked)])


def _table(model: ServiceBench) -> str:
    rows: list[tuple[str, ...]] = [
        ("case", "mechanism", "median", "minimum", "to B", "paper", "to B")
    ]
    rows += [_measured(model, row) for row in sorted(model.rows, key=_order)]
    return columns(rows, "  ", right="  rrrrr")


def _order(row: MeasuredCall) -> tuple[int, int]:
    return _index(_SITUATIONS, row.situation), _index(_MECHANISMS, row.mechanism)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _measured(model: ServiceBench, row: MeasuredCall) -> tuple[str, ...]:
    best = row.situation == "best"
    cycles = PAPER_BEST.get(row.mechanism) if best else None
    claim = PAPER_CLAIM.get(row.mechanism)
    paper = f"{cycles / PAPER_BEST['design_b']:.1f}" if cycles else f"~{claim:g}" if claim else ""
    ratio = _ratio(row.median, model.median(row.situation, "design_b"))
    return (
        row.situation,
        _TITLES.get(row.mechanism, row.mechanism),
        str(row.median),
        str(row.minimum),
        f"{ratio:.2f}" if ratio is not None else "",
        str(cycles) if cycles else "",
        paper,
    )


def _ratio(value: float, base: float | None) -> float | None:
    return round(value / base, 3) if base else None


def _limits(sentences: Iterable[str]) -> str:
    return "What these numbers can and cannot show:\n" + "\n".join(map(_limit, sentences))


def _limit(sentence: str) -> str:
    return textwrap.fill(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")


@data.register
def _(model: ServiceBench, _style: Style) -> dict[str, object]:
    document: dict[str, object] = {
        "schema": "klosdbg/bench-services/1",
        "counter": model.counter,
        "meaning": model.meaning,
    }
    for situation in _SITUATIONS:
        document[situation] = {m: model.median(situation, m) for m in _MECHANISMS}
    document["ratios"] = {s: _ratios(model, s) for s in _SITUATIONS}
    document["paper"] = {"best": PAPER_BEST, "claimed_ratios": PAPER_CLAIM}
    document["limits"] = list(_LIMITS)
    return document


def _ratios(model: ServiceBench, situation: str) -> dict[str, float | None]:
    base = model.median(situation, "design_b")
    found = {m: model.median(situation, m) for m in _MECHANISMS}
    return {m: _ratio(ticks, base) if ticks is not None else None for m, ticks in found.items()}


@text.register
def _(model: NativeBench, style: Style) -> str:
    rows = [("mechanism", "ticks", "to B")]
    for name, ticks in model.ticks.items():
        ratio = _ratio(ticks, model.ticks.get("design_b"))
        rows.append((_TITLES.get(name, name), f"{ticks:.1f}", f"{ratio:.2f}" if ratio else ""))
    heading = style.paint("bold", "The host's own processor, ticks of its time stamp counter")
    table = columns(rows, "  ", right=" rr")
    return f"{heading}\n{table}\n\n{_limits((*_NATIVE_LIMITS, *_LIMITS))}"


@data.register
def _(model: NativeBench, _style: Style) -> dict[str, object]:
    names = ("design_a", "design_b", "syscall", "int80")
    base = model.ticks.get("design_b")
    return {
        "schema": "klosdbg/bench-services/1",
        "counter": "cycles",
        "meaning": "ticks of the host's time stamp counter, not core clock cycles",
        "native": {name: model.ticks.get(name) for name in names},
        "ratios": {"native": {name: _ratio(t, base) for name, t in model.ticks.items()}},
        "limits": [*_NATIVE_LIMITS, *_LIMITS],
    }
