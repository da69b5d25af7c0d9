"""Views of gadgets."""

import textwrap
from collections.abc import Iterator

from klosdbg.klos.gadgets.models import Gadget, Gadgets, Kind
from klosdbg.views.base import WIDTH, Style, data, text

_SHORT = 4
_TITLES: dict[Kind, str] = {
    "leak": "hand DSOS to the caller",
    "exception": "hold DSOS in a register outside OS code",
    "commit": "ask the event core with the caller's registers",
    "gate": "call the event-return gate",
    "middle": "run OS code with the caller's selectors",
}


@text.register
def _(model: Gadgets, style: Style) -> str:
    lines = [f"{model.searched >> 10} KiB of pages searched that an application can execute"]
    if model.missing:
        missing = f"{model.missing >> 10} KiB more of them are not in this recording"
        lines.append(style.paint("yellow", missing))
    for kind, title in _TITLES.items():
        lines += ["", style.paint("bold", f"{model.count(kind)} {title}")]
        lines += _listed(model, kind, style)
    return "\n".join(lines)


def _listed(model: Gadgets, kind: Kind, style: Style) -> Iterator[str]:
    found = [gadget for gadget in model.gadgets if gadget.kind == kind]
    shown = found if model.every or kind == "leak" else found[:_SHORT]
    for gadget in shown:
        yield from _gadget(gadget, style)
    if len(found) > len(shown):
        yield f"  {len(found) - len(shown)} more of the kind ('--all')"


def _gadget(gadget: Gadget, style: Style) -> Iterator[str]:
    yield f"  {style.address(gadget.address)}"
    yield from textwrap.wrap(gadget.why, WIDTH, initial_indent="    ", subsequent_indent="    ")
    code = "; ".join(map(str, gadget.instructions))
    yield from textwrap.wrap(code, WIDTH, initial_indent="      ", subsequent_indent="      ")


@data.register
def _(model: Gadgets, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/dsos-gadgets/1",
        "searched": model.searched,
        "missing": model.missing,
        "gadgets": [
            {
                "address": gadget.address,
                "symbol": style.symbol(gadget.address),
                "kind": gadget.kind,
                "instructions": [
                    {"address": i.address, "raw": f"0x{i.raw.hex()}", "text": str(i)}
                    for i in gadget.instructions
                ],
                "why": gadget.why,
            }
            for gadget in model.gadgets
        ],
    }
