"""Views of DSOS and its patch sites."""

from collections import Counter
from collections.abc import Iterator

from klosdbg.klos.constants import Site, label
from klosdbg.klos.dsos_models import Dsos, SiteState
from klosdbg.views.base import Style, columns, data, text
from klosdbg.views.descriptors import descriptor_data, raw_number, what

_COLORS = {True: "green", False: "red", None: "dim"}


@text.register
def _(model: Dsos, style: Style) -> str:
    return "\n".join([*_head(model, style), "", *_sites(model, style), "", _verdict(model, style)])


def _head(model: Dsos, style: Style) -> Iterator[str]:
    selector = model.selector
    slot = style.paint("bold", f"{selector.table.upper()}[{selector.index}]")
    yield f"DSOS is {slot}, selector {selector.raw:#06x}, entry at {model.address:#010x}"
    yield f"  {raw_number(model.descriptor)}  {what(model.descriptor, style)}"
    yield f"  {model.relocations} relocations, {model.np_faults} absent selectors loaded"
    yield f"  the next relocation comes with {_count(model.until_next, 'more absent selector')}"
    if model.moving:
        yield style.paint("yellow", "  a relocation is under way: tables and sites may disagree")


def _sites(model: Dsos, style: Style) -> Iterator[str]:
    shown = model.sites if model.listed else model.wrong
    if shown:
        rows = [("value at", "holds", "instruction", "site"), *(_site(s, style) for s in shown)]
        yield columns(rows)
    if not model.listed:
        yield from _folded(model)


def _folded(model: Dsos) -> Iterator[str]:
    agreeing = [site for site in model.sites if site.agrees]
    parked = [s for s in agreeing if s.bare and s.value != model.selector.raw]
    kinds = Counter(label(Site, s.site.kind) for s in agreeing if s not in parked)
    if kinds:
        each = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        holders = _count(kinds.total(), "site")
        yield f"{holders} with {model.selector.raw:#06x}: {each} (--sites lists them)"
    if parked:
        count = _count(len(parked), "prologue")
        yield f"{count} of the benchmark and its attack: DSAPP, as nothing uses them now"


def _site(state: SiteState, style: Style) -> tuple[str, ...]:
    holds = "?" if state.value is None else f"{state.value:#06x}"
    name = state.site.name if state.site.kind == Site.DESIGN_B else _named(state)
    wrong = f" ({state.why})" if state.agrees is False else " (left out)" if state.why else ""
    return (
        f"{state.site.immediate:#010x}",
        style.paint(_COLORS[state.agrees], holds),
        str(state.instruction or ("?" if state.site.start else "cell")),
        name + style.paint("red", wrong),
    )


def _named(state: SiteState) -> str:
    return f"{state.site.name}, {label(Site, state.site.kind)}"


def _verdict(model: Dsos, style: Style) -> str:
    wrong = len(model.wrong)
    if not wrong:
        return _agreed(model, style)
    count = f"{wrong} of {len(model.sites)} sites do not agree"
    if model.moving:
        return style.paint("yellow", f"{count}: a relocation is rewriting them, 'finish' lets it")
    return style.paint("red", f"{count}: 'dsos audit' says more")


def _agreed(model: Dsos, style: Style) -> str:
    unread = model.unread
    if not unread:
        return style.paint("green", f"all {len(model.sites)} sites agree")
    count = f"{len(unread)} of {len(model.sites)} sites are not compared"
    return style.paint("yellow", f"{count}: {unread[0].why}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@data.register
def _(model: Dsos, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/dsos/1",
        "table": model.selector.table,
        "slot": model.selector.index,
        "selector": model.selector.raw,
        "address": model.address,
        "descriptor": descriptor_data(model.descriptor, style),
        "relocations": model.relocations,
        "np_faults": model.np_faults,
        "np_until_next": model.until_next,
        "sequence": model.sequence,
        "sites": [_site_data(site) for site in model.sites],
    }


def _site_data(state: SiteState) -> dict[str, object]:
    instruction = state.instruction
    return {
        "address": state.site.immediate,
        "selector": state.value,
        "name": state.site.name,
        "kind": label(Site, state.site.kind),
        "instruction": str(instruction) if instruction else None,
        "raw": f"0x{instruction.raw.hex()}" if instruction else None,
        "agrees": state.agrees,
        "reason": state.why or None,
    }
