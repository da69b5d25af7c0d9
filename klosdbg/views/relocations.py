"""Views of relocations."""

import textwrap
from collections.abc import Iterator
from typing import Any

from klosdbg.klos.dsos_models import Audited, AuditSum, Patched, Relocation, Relocations
from klosdbg.views.base import WIDTH, Style, columns, data, text
from klosdbg.views.findings import finding_data, finding_lines
from klosdbg.views.klos import structure_data
from klosdbg.x86.selector import Selector

_MOST = 40
_CAUSES = {
    "boot": "at boot",
    "np": "third absent selector",
    "mailbox": "asked for",
    "attack": "an application was caught with DSOS",
}


@text.register
def _(model: Relocations, style: Style) -> str:
    return "\n".join([*_listed(model, style), _verdict(model, style), *_written(model.written)])


def _listed(model: Relocations, style: Style) -> Iterator[str]:
    shown = model.relocations[-_MOST:]
    hidden = len(model.relocations) - len(shown) + model.lost
    if hidden:
        yield f"{hidden} earlier ones are not shown ('--json' gives what the log still holds)"
    for relocation in shown:
        yield text(relocation, style)
    if len(model.relocations) == 1:
        yield _patched(model.relocations[0].patched, style)


@text.register
def _(model: Relocation, style: Style) -> str:
    entry = model.entry
    move = f"{place(model.old)} -> {style.paint('bold', place(model.new))}"
    cause = _CAUSES.get(model.cause, model.cause)
    ticks = "" if model.ticks is None else f", {model.ticks} ticks"
    fixed = f"{entry.corrected} selectors corrected, {entry.rewound} threads sent back"
    return (
        f"{entry.seq}: {move}, {cause}\n"
        f"   pid {entry.pid} tid {entry.tid} at {style.address(entry.eip)}\n"
        f"   {entry.sites} sites, {fixed}{ticks}"
    )


def place(selector: Selector) -> str:
    """Name a slot and its selector: ``GDT[524] 0x1063``."""
    return f"{selector.table.upper()}[{selector.index}] {selector.raw:#06x}"


def _patched(sites: tuple[Patched, ...], style: Style) -> str:
    rows = [("", "value at", "before", "after", "site")]
    rows += [
        ("", f"{p.site.immediate:#010x}", p.before, style.paint("green", p.after), p.site.name)
        for p in sites
    ]
    return columns(rows)


def _verdict(model: Relocations, style: Style) -> str:
    count = len(model.relocations) + model.lost
    missing = f"{count} of {model.wanted} relocations came"
    if count < model.wanted:
        return style.paint("red", f"{missing}: 'c' lets the guest go on")
    wrong = len(model.wrong)
    if wrong:
        return style.paint("red", f"{missing}, and {wrong} sites do not agree: 'dsos audit'")
    agree = f"{count} relocation{'' if count == 1 else 's'}, all {len(model.sites)} sites agree"
    return style.paint("green", agree)


def _written(written: tuple[str, ...]) -> Iterator[str]:
    for sentence in written:
        yield textwrap.fill(f"written: {sentence}", WIDTH, subsequent_indent="  ")


@data.register
def _(model: Relocations, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/relocations/1",
        "how": model.how,
        "wanted": model.wanted,
        "relocations": [relocation_data(r, style) for r in model.relocations],
        "lost": model.lost,
        "wrong_sites": [site.site.name for site in model.wrong],
        "written": list(model.written),
    }


@text.register
def _(model: Audited, style: Style) -> str:
    moves = [
        f"{r.entry.seq}: {place(r.old)} -> {place(r.new)}, {_CAUSES.get(r.cause, r.cause)}"
        for r in model.relocations
    ]
    found = finding_lines(model.findings.findings, style)
    verdict = found or style.paint("green", "   no findings")
    return "\n".join([*moves, verdict])


@data.register
def _(model: Audited, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/findings/1",
        "findings": [finding_data(finding) for finding in model.findings.findings],
        "relocations": [relocation_data(r, style) for r in model.relocations],
    }


@text.register
def _(model: AuditSum, style: Style) -> str:
    return "\n".join([_sum(model, style), *_written(model.written)])


def _sum(model: AuditSum, style: Style) -> str:
    came = f"{model.done} of {model.wanted}" if model.done < model.wanted else f"{model.done}"
    audited = f"{came} relocations by {model.how}, an audit after each, {model.seconds:.1f} s"
    notes = f" ({model.notes} notes)" if model.notes else ""
    found = f"{model.faults or 'no'} finding{'' if model.faults == 1 else 's'}{notes}"
    return style.paint("red" if model.found_fault else "green", f"{audited}: {found}")


@data.register
def _(model: AuditSum, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/audited/1",
        "how": model.how,
        "wanted": model.wanted,
        "done": model.done,
        "faults": model.faults,
        "notes": model.notes,
        "seconds": model.seconds,
        "written": list(model.written),
    }


@data.register
def _(model: Relocation, style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/relocation/1", **relocation_data(model, style)}


def relocation_data(model: Relocation, style: Style) -> dict[str, Any]:
    """Show a relocation as JSON-able data."""
    entry = structure_data(model.entry)
    entry.pop("old_selector")
    entry.pop("new_selector")
    return {
        "old": model.old.raw,
        "new": model.new.raw,
        **entry,
        "cause": model.cause,
        "symbol": style.symbol(model.entry.eip),
        "ticks": model.ticks,
        "patched": [
            {
                "address": p.site.immediate,
                "name": p.site.name,
                "before": p.before,
                "after": p.after,
            }
            for p in model.patched
        ],
    }
