"""Views of KLOS: its self-description, processes, threads, services, handlers, frames."""

from collections.abc import Iterator
from typing import Any

from klosdbg.klos.abi import KlosArray, KlosInfo, KlosPanic
from klosdbg.klos.constants import Flag, flag_labels
from klosdbg.klos.layout import members
from klosdbg.klos.models import (
    Check,
    Description,
    Value,
)
from klosdbg.views.base import Style, columns, data, hex64, text
from klosdbg.x86.selector import Selector
from klosdbg.x86.vectors import vector_name

_SECTIONS = {
    "csos": "Selectors",
    "gdt": "Tables",
    "app_base": "Address space",
    "return_gate": "Event core",
    "current_thread": "Who runs",
    "service_table": "Arrays",
    "seed": "Random source",
    "event_count": "Counters",
}
_NUMBERS = ("size", "count", "rate", "depth", "pid", "off", "seed", "draws")
_BOUNDS = ("_base", "_start", "_end", "_bottom", "_top", "_directory")
_COLORS = {"ok": "green", "wrong": "red", "unknown": "yellow"}


@text.register
def _(model: Description, style: Style) -> str:
    parts = ["\n".join(_head(model, style)), *_sections(model.klos.info, style)]
    if model.panic:
        parts.append(style.paint("red", "Panic") + "\n" + _panic(model.panic, style))
    parts.append(_checks(model, style))
    return "\n\n".join(parts)


def _head(model: Description, style: Style) -> Iterator[str]:
    info = model.klos.info
    how = "by symbol" if model.klos.found == "symbol" else "by its magic"
    yield f"KLOS, found {how} at {style.address(model.klos.address)}"
    yield f"  version {info.version}, {info.size} bytes, build {info.build_id}"
    state = flag_labels(Flag, info.flags) or "not booted"
    yield f"  {state}; sequence {info.sequence}{' (tables are changing)' * (info.sequence % 2)}"


def _sections(info: KlosInfo, style: Style) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    heading = ""
    for member in members(KlosInfo):
        if member.name in _SECTIONS:
            if heading:
                yield _section(heading, rows, style)
            heading, rows = _SECTIONS[member.name], []
        if heading and member.name != "reserved":
            rows.append((member.name, _field(member.name, getattr(info, member.name), style)))
    yield _section(heading, rows, style)


def _section(heading: str, rows: list[tuple[str, str]], style: Style) -> str:
    return style.paint("bold", heading) + "\n" + columns(rows, "  ")


def _field(name: str, value: Any, style: Style) -> str:
    if isinstance(value, KlosArray):
        return f"{value.address:#010x}  {value.count} x {value.entry_size} bytes"
    if name in ("csos", "dsapp", "dsos", "core_code", "core_data") or name.endswith("_selector"):
        selector = Selector(value)
        return f"{value:#06x}  {selector.table.upper()}[{selector.index}] rpl {selector.rpl}"
    if name.endswith("_vector"):
        return f"{value:#x}"
    if name == "random_state":
        return f"{value:#018x}"
    if name.endswith("_limit"):
        return f"{value:#x}"
    if name.endswith(_NUMBERS) or value < 0x10000:
        return str(value)
    return f"{value:#010x}" if name.endswith(_BOUNDS) else style.address(value)


def _checks(model: Description, style: Style) -> str:
    if not model.klos.booted:
        return "KLOS has not booted: there is nothing to check before 'until klos_ready'"
    bad = [check for check in model.checks if check.result != "ok"]
    good = len(model.checks) - len(bad)
    head = f"{good} of {len(model.checks)} checks agree with the processor"
    color = "green" if not bad else "red" if model.found_fault else "yellow"
    return "\n".join([style.paint(color, head), *(_check(check, style) for check in bad)])


def _check(check: Check, style: Style) -> str:
    verdict = style.paint(_COLORS[check.result], check.result)
    said = f"klos_info {_value(check.claimed)}, {check.source} {_value(check.found)}"
    return f"  {check.name}: {verdict}\n    {said}"


def _value(value: Value) -> str:
    return f"{value:#x}" if isinstance(value, int) else str(value)


def _panic(panic: KlosPanic, style: Style) -> str:
    frame = panic.frame
    vector = vector_name(panic.vector) or ""
    rows = [
        ("reason", panic.reason),
        ("vector", f"{panic.vector} {vector}".strip()),
        ("process, thread", f"{panic.pid}, {panic.tid}"),
        ("event depth", str(panic.depth)),
        (
            "cr0 cr2 cr3 cr4",
            " ".join(f"{getattr(panic, n):08x}" for n in ("cr0", "cr2", "cr3", "cr4")),
        ),
        ("interrupted", f"{frame.cs:04x}:{style.address(frame.eip)}"),
        ("stack", f"{frame.ss & 0xFFFF:04x}:{frame.esp:08x}, error code {frame.error_code:#x}"),
    ]
    return columns(rows, "  ")


@data.register
def _(model: Description, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/klos/1",
        "address": model.klos.address,
        "found": model.klos.found,
        **structure_data(model.klos.info),
        "checks": [
            {
                "name": c.name,
                "result": c.result,
                "klos": c.claimed,
                "processor": c.found,
                "source": c.source,
            }
            for c in model.checks
        ],
        "panic_record": structure_data(model.panic) if model.panic else None,
    }


def structure_data(structure: Any) -> dict[str, object]:
    """Show a structure under its C names; 64-bit fields are ``0x`` strings."""
    shown: dict[str, object] = {}
    kind: Any = type(structure)
    for member in members(kind):
        value = getattr(structure, member.name)
        if member.nested is not None:
            shown[member.name] = structure_data(value)
        else:
            shown[member.name] = hex64(value) if member.code == "Q" else value
    return shown
