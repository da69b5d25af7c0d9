"""Views of what hardware would have refused."""

import textwrap

from klosdbg.silicon.models import Refused, SiliconReport
from klosdbg.views.base import WIDTH, Style, address_data, columns, data, text

_INDENT = "  "
_BROKEN = {
    "limit": "past the limit {limit:#x}",
    "expand-down": "not above the limit {limit:#x} of expand-down data",
    "code-limit": "past the code limit {limit:#x}",
    "read-only": "read-only data",
    "code-write": "code, which is never writable",
    "execute-only": "execute-only code",
    "null": "a null selector",
    "alignment": "not aligned, and alignment is checked",
    "icebp": "a debug trap, not an invalid opcode",
    "privilege": "an instruction of ring 0",
}
_KINDS = ("read-only", "code-write", "execute-only", "null")
_ENDS = {
    "count": "{n}",
    "until": "{n}, to the address",
    "breakpoint": "{n}, to a breakpoint",
    "shutdown": "{n}, until the guest shut down",
    "halted": "{n}, until the processor was halted",
    "interrupt": "{n}, until Ctrl-C",
    "time-out": "{n}, until time was up",
}


@text.register
def _(model: SiliconReport, style: Style) -> str:
    blocks = [_refused_text(refused, style) for refused in model.refused]
    count = len(model.refused)
    verdict = f"{count} refused by hardware" if count else "hardware would refuse nothing"
    ended = _ENDS[model.end].format(n=_counted(model.instructions, "instruction"))
    painted = style.paint("red" if count else "green", verdict)
    place = f" <{model.symbol}>" if model.symbol else ""
    return "\n".join(
        [*blocks, f"{ended}: {painted}", f"now at {model.cs:04x}:{model.eip:08x}{place}"]
    )


@data.register
def _(model: SiliconReport, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/silicon/1",
        "instructions": model.instructions,
        "end": model.end,
        "cs": model.cs,
        "eip": address_data(model.eip),
        "linear": address_data(model.linear),
        "symbol": model.symbol,
        "refused": [_refused_data(refused) for refused in model.refused],
    }


def _refused_text(refused: Refused, style: Style) -> str:
    exception = style.paint("red", refused.exception)
    lines = [f"{exception} {style.address(refused.linear)}, ring {refused.cpl}"]
    lines += [f"{_INDENT}{refused.instruction}", *_wrapped(_sentence(refused))]
    if refused.followed:
        lines += _wrapped(_followed(refused))
    if refused.delivered:
        rows = [(w.where, f"{w.before} -> {w.after}") for w in refused.delivered]
        lines += [f"{_INDENT}delivered; changed:", columns(rows, indent=2 * _INDENT)]
    return "\n".join(lines)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _followed(refused: Refused) -> str:
    what = "element" if refused.instruction.startswith("rep") else "instruction"
    return f"so were {_counted(refused.followed, what)} after it"


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
    )


def _sentence(refused: Refused) -> str:
    broken = refused.violation
    why = _BROKEN[broken.rule].format(limit=broken.register.limit)
    if broken.rule in ("icebp", "privilege"):
        return f"{why} [{broken.rule}]"
    verb = "fetch" if broken.access == "execute" else broken.access
    size = _counted(broken.size, "byte")
    selector = f"{broken.register.selector:#06x}"
    what = f"{selector} is {why}" if broken.rule in _KINDS else why
    return f"{verb} of {size} at {broken.segment}:{broken.offset:#x}: {what} [{broken.rule}]"


def _refused_data(refused: Refused) -> dict[str, object]:
    broken = refused.violation
    return {
        "rule": broken.rule,
        "vector": broken.vector,
        "error_code": broken.error_code,
        "exception": refused.exception,
        "segment": broken.segment,
        "selector": broken.register.selector,
        "limit": broken.register.limit,
        "offset": address_data(broken.offset),
        "size": broken.size,
        "access": broken.access,
        "cs": refused.cs,
        "eip": address_data(refused.eip),
        "linear": address_data(refused.linear),
        "address": address_data(refused.place),
        "cpl": refused.cpl,
        "symbol": refused.symbol,
        "instruction": refused.instruction,
        "raw": refused.raw.hex(),
        "followed": refused.followed,
        "delivered": [
            {"where": w.where, "before": w.before, "after": w.after} for w in refused.delivered
        ],
    }
