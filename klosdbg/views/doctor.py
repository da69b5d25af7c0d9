"""Views of what doctor found."""

import os
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from klosdbg.models import Diagnosis, Tool
from klosdbg.views.base import WIDTH, Style, columns, data, text
from klosdbg.x86.enforcement import ProbeResult, ProbeRow

_CLASSES = {
    "load": "loading segment registers",
    "data": "memory access through segments",
    "stack": "stack access",
    "fetch": "code fetch",
    "transfer": "far transfers",
    "gate": "call gates",
    "interrupt": "interrupts and exceptions",
    "io": "I/O permission bitmap",
    "privileged": "privileged instructions",
    "descriptor-table": "descriptor tables",
    "sysenter": "SYSENTER and SYSEXIT",
    "query": "LAR, LSL, VERR, VERW, ARPL",
    "paging": "page protection",
    "debug": "single step and debug registers",
    "task": "hardware tasks",
}

# Rows that stand or fall for a reason of their own. Others go by the words of their class.
_TOPICS = {
    "segment limits on memory access": (
        "read-at-limit read-past-limit-byte write-past-limit read-straddling-limit"
        " read-wrapping-4g read-past-limit-page moffs-past-limit read-at-limit-page"
        " rep-movsb-crossing-limit fnstenv-crossing-limit"
    ),
    "limits of expand-down segments": "expand-down-below-limit expand-down-above-limit",
    "read-only data segments": "write-read-only read-read-only",
    "use of a null segment register": "read-null-es write-null-es",
    "execute-only code segments": (
        "read-execute-only-cs write-execute-only-cs run-execute-only-cs"
    ),
    "no writing through a code segment": "read-readable-cs write-readable-cs",
    "limits of the stack segment": "ss-read-past-limit push-past-limit push-esp-zero-wrap",
    "code limits on near jumps and fetch": (
        "near-jmp-past-limit indirect-jmp-past-limit ret-past-limit call-past-limit"
        " fetch-over-limit cs-base-nonzero"
    ),
    "code limits on LRET and IRET": ("lret-past-limit iret-past-limit iret-ring0-past-limit"),
    "code limits on far JMP": "far-jmp-past-limit",
    "limit checks before page faults": "limit-before-page-fault",
    "alignment check": "alignment-check",
    "ICEBP (F1)": "icebp",
    "INVD and WBINVD in ring 3": "invd wbinvd",
}
_TOPIC_OF = {row_id: topic for topic, ids in _TOPICS.items() for row_id in ids.split()}


@text.register
def _(model: Diagnosis, style: Style) -> str:
    parts = [
        _programs(model.tools, style),
        _missing(model, style),
        _packages(model),
        _images(model),
    ]
    parts += [_probe(probe, model.list_rows, style) for probe in model.probes]
    parts.append(_environment(model.environment))
    return "\n\n".join(part for part in parts if part)


@data.register
def _(model: Diagnosis, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/doctor/1",
        "tools": [
            {
                "name": t.name,
                "installed": t.version is not None,
                "version": t.version or None,
                "required": t.required,
                "package": t.package,
            }
            for t in model.tools
        ],
        "install": _install_command(model),
        "python": [{"name": name, "version": version} for name, version in model.packages],
        "images": [{"path": path, "build": build} for path, build in model.images.builds],
        "accelerators": [_probe_data(probe) for probe in model.probes],
        "environment": dict(model.environment),
    }


def _programs(tools: Iterable[Tool], style: Style) -> str:
    rows = [(tool.name, tool.version or _absence(tool, style), tool.use) for tool in tools]
    return "Programs\n" + columns(rows, "  ")


def _absence(tool: Tool, style: Style) -> str:
    if tool.version is not None:
        return "installed"
    return style.paint("red" if tool.required else "yellow", "missing")


def _install_command(model: Diagnosis) -> str | None:
    missing = model.missing_packages
    return f"sudo apt install {' '.join(missing)}" if missing else None


def _missing(model: Diagnosis, _style: Style) -> str:
    command = _install_command(model)
    return f"To install what is missing:\n  {command}" if command else ""


def _packages(model: Diagnosis) -> str:
    # A name and its version stay on one line.
    known = [f"{name}\N{NO-BREAK SPACE}{version or 'MISSING'}" for name, version in model.packages]
    return "Python packages\n" + _wrap(", ".join(known), "  ").replace("\N{NO-BREAK SPACE}", " ")


def _images(model: Diagnosis) -> str:
    """Name images and builds, and then the directory that they have in common."""
    shared = os.path.commonpath([os.path.dirname(path) for path, _ in model.images.builds])
    of_whom = "this checkout" if model.images.in_checkout else "this installation"
    missing = "not built: 'make guest'" if model.images.in_checkout else "missing"
    rows = [
        (os.path.relpath(path, shared), build or missing) for path, build in model.images.builds
    ]
    return f"Images of {of_whom}\n" + columns(rows, "  ") + "\n" + _wrap(f"in {shared}", "  ")


def _environment(rows: Iterable[tuple[str, str]]) -> str:
    """Make the block for a bug report: its indent keeps its lines apart there."""
    lines = [f"    {name:12}  {_wrap(value, ' ' * 18).lstrip()}" for name, value in rows]
    return "\n".join(["For a bug report:", "", *lines]) if lines else ""


def _probe(probe: ProbeResult, list_rows: bool, style: Style) -> str:
    head = style.paint("bold", f"Accelerator {probe.accelerator}")
    if probe.status != "ok":
        verdict = style.paint("yellow", f"does not work here ({probe.status})")
        return f"{head}: {verdict}\n" + _wrap(probe.reason, "  ")
    tested = [row for row in probe.rows if row.tested]
    same = sum(row.enforced for row in tested)
    lines = [f"{head}: {same} of {len(tested)} situations end as on hardware"]
    lines += _skipped(probe)
    lines += list(_rows(probe, style)) if list_rows else list(_summary(probe, style))
    return "\n".join(lines)


def _skipped(probe: ProbeResult) -> list[str]:
    reasons = {row.got for row in probe.rows if not row.tested}
    number = sum(not row.tested for row in probe.rows)
    return [f"  {number} could not be tested: {', '.join(sorted(reasons))}"] if number else []


def _summary(probe: ProbeResult, style: Style) -> Iterator[str]:
    """Name what differs, one topic a line, and then in one breath what does not."""
    held = []
    for topic, rows in _by_topic(probe.rows):
        if all(row.enforced for row in rows):
            held.append(topic)
        else:
            yield _differing(topic, rows, probe.accelerator, style)
    if held:
        yield _wrap(f"as on hardware: {', '.join(held)}", "  ")


def _by_topic(rows: Iterable[ProbeRow]) -> Iterator[tuple[str, list[ProbeRow]]]:
    names = [*_TOPICS, *_CLASSES.values()]
    tested = sorted((row for row in rows if row.tested), key=lambda r: _rank(names, _topic(r)))
    for topic, group in groupby(tested, _topic):
        yield topic, list(group)


def _topic(row: ProbeRow) -> str:
    return _TOPIC_OF.get(row.id) or _CLASSES.get(row.row_class, row.row_class)


def _rank(order: list[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _differing(topic: str, rows: list[ProbeRow], accelerator: str, style: Style) -> str:
    # A row that nothing should stop proves no enforcement.
    checks = [row for row in rows if row.expected.startswith("#")] or rows
    wrong = next(row for row in rows if not row.enforced)
    some = any(row.enforced for row in checks)
    verdict = style.paint("yellow", "PARTLY enforced" if some else "NOT enforced")
    return f"  {topic}: {verdict} by {accelerator} (hardware: {wrong.expected.split(' ')[0]})"


def _rows(probe: ProbeResult, style: Style) -> Iterator[str]:
    order = list(_CLASSES)
    rows = sorted(probe.rows, key=lambda row: _rank(order, row.row_class))
    for name, group in groupby(rows, lambda row: row.row_class):
        yield f"  {_CLASSES.get(name, name)}"
        cells = [
            (row.id, row.expected, "" if row.enforced else style.paint("yellow", row.got))
            for row in group
        ]
        yield columns(cells, "    ")


def _wrap(string: str, indent: str) -> str:
    return textwrap.fill(
        string, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _probe_data(probe: ProbeResult) -> dict[str, object]:
    return {
        "name": probe.accelerator,
        "status": probe.status,
        "reason": probe.reason or None,
        "cpu": probe.model or None,
        "rows": [
            {
                "id": row.id,
                "class": row.row_class,
                "ring": row.ring,
                "expected": row.expected,
                "got": row.got,
                "enforced": row.enforced if row.tested else None,
                "title": row.title,
            }
            for row in probe.rows
        ],
    }
