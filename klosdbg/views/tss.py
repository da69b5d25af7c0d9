"""Views of task-state segments, I/O permission bitmaps, and of what a port access would meet."""

import textwrap

from klosdbg.views.base import WIDTH, Style, columns, data, hex64, text
from klosdbg.x86.iobitmap import IoBitmap, PortAccess
from klosdbg.x86.tss import Tss


@text.register
def _(model: Tss, style: Style) -> str:
    head = f"{style.paint('bold', f'{model.bits}-bit TSS')} at {style.address(model.base)}, "
    digits = {16: 4, 32: 8, 64: 16}[model.bits]
    cells = [
        f"{name:10} {'-' if value is None else f'{value:0{digits}x}'}"
        for name, value in model.fields.items()
    ]
    across = 2 if model.bits == 64 else 3
    rows = [cells[at : at + across] for at in range(0, len(cells), across)]
    lines = [head + f"limit {model.limit:#x}", columns(rows, indent="  "), text(model.io, style)]
    if model.redirection is not None:
        redirected = _ranges(model.redirected)
        lines.append(_wrapped("virtual-8086 interrupts to the IVT (bit 0): ", redirected))
    return "\n".join(lines)


def tss_in_one_line(tss: Tss) -> str:
    """Say in one line what a TSS of 16 or 32 bits switches to, of what its own fields say."""
    wide = "e" if tss.bits == 32 else ""
    inner = [
        f"ring {ring} stack {ss:04x}:{sp:0{tss.bits // 4}x}"
        for ring in range(3)
        if (ss := tss.fields[f"ss{ring}"]) and (sp := tss.fields[f"{wide}sp{ring}"]) is not None
    ]
    place = f"{tss.fields['cs']:04x}:{tss.fields[f'{wide}ip']:0{tss.bits // 4}x}"
    words = [*inner, f"saved cs:{wide}ip {place}"]
    if tss.bits == 32:
        words += [f"cr3 {tss.fields['cr3']:#x}", f"iomap_base {tss.fields['iomap_base']:#x}"]
    return f"{tss.bits}-bit TSS, {', '.join(words)}"


def _ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    shown = [f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in ranges]
    return " ".join(shown) or "none"


def _wrapped(head: str, string: str) -> str:
    return textwrap.fill(head + string, WIDTH, subsequent_indent="  ")


@data.register
def _(model: Tss, _style: Style) -> dict[str, object]:
    wide = model.bits == 64
    fields = {
        name: hex64(value) if wide and value is not None and name != "iomap_base" else value
        for name, value in model.fields.items()
    }
    return {
        "schema": "klosdbg/tss/1",
        "bits": model.bits,
        "base": hex64(model.base) if wide else model.base,
        "limit": model.limit,
        **fields,
        "ports": [list(part) for part in model.io.allowed],
        "redirected": [list(part) for part in model.redirected],
    }


@text.register
def _(model: IoBitmap, _style: Style) -> str:
    if not model.present:
        return "no I/O bitmap: the TSS has no iomap_base"
    if model.iomap_base >= model.limit:
        where = f"iomap_base {model.iomap_base:#x} is not below the TSS limit {model.limit:#x}"
        return _wrapped("no I/O bitmap: ", f"{where}, so every port is denied above IOPL")
    head = f"I/O bitmap: iomap_base {model.iomap_base:#x}, TSS limit {model.limit:#x}"
    lines = [head, _wrapped("  ports allowed above IOPL: ", _ranges(model.allowed))]
    lines += [
        f"  bitmap bytes {first:#x}-{last:#x} are not mapped: an access there raises #PF"
        for first, last in model.missing
    ]
    return "\n".join(lines)


@data.register
def _(model: IoBitmap, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/iomap/1",
        "present": model.present,
        "iomap_base": model.iomap_base,
        "limit": model.limit,
        "ports": [list(part) for part in model.allowed],
        "missing": [list(part) for part in model.missing],
    }


@text.register
def _(model: PortAccess, style: Style) -> str:
    verdict = style.paint("green", "allowed") if model.allowed else style.paint("red", "denied")
    size = f"{model.size} byte" + ("s" if model.size > 1 else "")
    head = f"port {model.port:#x}, {size}: {verdict} ({model.rule})"
    return f"{head}\n{_wrapped('  ', model.explanation)}"


@data.register
def _(model: PortAccess, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/port/1",
        "port": model.port,
        "size": model.size,
        "allowed": model.allowed,
        "rule": model.rule,
        "explanation": model.explanation,
    }
