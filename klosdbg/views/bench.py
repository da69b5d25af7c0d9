"""Views of klosdbg's own speed."""

from klosdbg.bench.models import Bench, Measured
from klosdbg.views.base import Style, columns, data, text


@text.register
def _(model: Bench, style: Style) -> str:
    rows = [_row(measured, style) for measured in model.measured]
    return columns([("name", "ratio", "wanted", "what"), *rows], right=" rr")


def _row(measured: Measured, style: Style) -> tuple[str, ...]:
    sign = ">=" if measured.at_least else "<="
    if measured.ratio is None:
        return measured.name, "-", f"{sign} {measured.wanted:g}", measured.what
    ratio = style.paint("green" if measured.holds else "red", f"{measured.ratio:.2f}")
    return measured.name, ratio, f"{sign} {measured.wanted:g}", measured.what


@data.register
def _(model: Bench, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/bench/1",
        "measured": [
            {
                "name": m.name,
                "what": m.what,
                "ratio": None if m.ratio is None else round(m.ratio, 3),
                "wanted": m.wanted,
                "at_least": m.at_least,
                "holds": None if m.ratio is None else m.holds,
            }
            for m in model.measured
        ],
    }
