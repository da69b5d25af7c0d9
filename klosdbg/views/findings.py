"""Views of what checks found."""

import textwrap
from collections.abc import Iterable

from klosdbg.views.base import WIDTH, Style, data, text
from klosdbg.x86.findings import Finding, Findings

_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@text.register
def _(model: Findings, style: Style) -> str:
    return finding_lines(model.findings, style) or "no findings"


@data.register
def _(model: Findings, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/findings/1",
        "findings": [finding_data(found) for found in model.findings],
    }


def finding_lines(found: Iterable[Finding], style: Style) -> str:
    """Show findings, one paragraph each: severity, place, sentence, rule."""
    return "\n".join(_paragraph(finding, style) for finding in found)


def finding_data(finding: Finding) -> dict[str, object]:
    """Show a finding as JSON-able data."""
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "where": finding.where,
        "text": finding.text,
    }


def _paragraph(finding: Finding, style: Style) -> str:
    head = f"{finding.severity}:"
    body = f"{finding.where}: {finding.text} [{finding.rule}]"
    lines = textwrap.wrap(body, WIDTH - 9, break_on_hyphens=False)
    painted = style.paint(_COLORS[finding.severity], head)
    return f"{painted}{' ' * (9 - len(head))}" + ("\n" + " " * 9).join(lines)
