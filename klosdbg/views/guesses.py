"""Views of how often DSOS is guessed."""

import textwrap
from collections.abc import Iterator

from klosdbg.klos.guess_models import CONFIDENCE, PAPER, Guesses
from klosdbg.views.base import WIDTH, Style, columns, data, text

_NOTE = (
    "The paper adds 1/16382 + 1/16381 + 1/16380. Three different guesses out of N slots hit with "
    "exactly 3/N; DSOS may be in all free slots of GDT and LDT."
)


@text.register
def _(model: Guesses, style: Style) -> str:
    return "\n".join(_lines(model, style))


def _lines(model: Guesses, style: Style) -> Iterator[str]:
    source = "played in the guest" if model.source == "guest" else "simulated"
    yield style.paint("bold", f"{model.rounds} rounds of three guesses at {model.slots} slots")
    yield f"  {source}, seed {model.seed}"
    low, high = model.interval
    measured = f"{model.rate:.3e}  {len(model.waits)} successes"
    rows = [
        ("measured", measured),
        (f"{CONFIDENCE:.1%} interval", f"{low:.3e} to {high:.3e}"),
        ("exact, 3/N", f"{model.exact:.3e}  {_inside(model.agrees, style)}"),
        ("the paper", f"{PAPER:.3e}  {_inside(model.agrees_with_paper, style)}"),
    ]
    yield columns(rows, "  ")
    yield from _waits(model)
    yield textwrap.fill(_NOTE, WIDTH)


def _inside(holds: bool, style: Style) -> str:
    return style.paint("green", "inside") if holds else style.paint("red", "outside")


def _waits(model: Guesses) -> Iterator[str]:
    if not model.waits:
        yield "  no success, so there is no wait to compare"
        return
    first, middle, last = model.quartiles
    mean = sum(model.waits) / len(model.waits)
    yield f"  rounds until a success: {mean:.0f} on average, {1 / model.exact:.0f} by the law"
    bounds = (f"up to {first}", f"up to {middle}", f"up to {last}", "more")
    expected = f"{len(model.waits) / 4:.1f}"
    rows = [("rounds until a success", "seen", "geometric law")]
    rows += [(b, str(n), expected) for b, n in zip(bounds, model.quarters, strict=True)]
    yield columns(rows, "  ", right=" rr")


@data.register
def _(model: Guesses, _style: Style) -> dict[str, object]:
    low, high = model.interval
    return {
        "schema": "klosdbg/guesses/1",
        "source": model.source,
        "seed": model.seed,
        "rounds": model.rounds,
        "slots": model.slots,
        "successes": len(model.waits),
        "rate": model.rate,
        "confidence": CONFIDENCE,
        "low": low,
        "high": high,
        "exact": model.exact,
        "paper": PAPER,
        "contains_exact": model.agrees,
        "contains_paper": model.agrees_with_paper,
        "waits": list(model.waits),
        "quartiles": list(model.quartiles),
        "quarters": list(model.quarters),
    }
