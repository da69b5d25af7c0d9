"""Views of a session's own models: stops, memory, code, symbols, breakpoints, help."""

import textwrap
from collections.abc import Iterator

from klosdbg.models import (
    BreakpointInfo,
    BreakpointList,
    ConsoleText,
    GdbOutput,
    HelpText,
    Listing,
    MemoryDump,
    Remark,
    Running,
    Stop,
    SymbolInfo,
    Written,
)
from klosdbg.views.base import WIDTH, Style, address_data, columns, data, hex64, printable, text
from klosdbg.x86.disasm import Instruction

_BYTES_A_LINE = 16
_LONGEST_WANTED = 24


@text.register
def _(model: Stop, style: Style) -> str:
    number = f" {model.breakpoint}" if model.breakpoint is not None else ""
    place = f"{model.cs:04x}:{model.eip:08x}"
    if model.linear != model.eip:
        place += f" (linear {model.linear:#010x})"
    symbol = f" {style.paint('cyan', f'<{model.symbol}>')}" if model.symbol else ""
    reason = style.paint("yellow", f"{model.reason}{number}")
    head = f"{reason}: ring {model.cpl}, {place}{symbol}"
    lines = [head]
    if model.halted:
        lines.append("  halted with interrupts off: only an NMI or a reset wakes it")
    if model.instruction:
        lines.append(f"  {_code(model.instruction, style)}")
    return "\n".join(lines)


@data.register
def _(model: Stop, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/stop/1",
        "reason": model.reason,
        "cs": model.cs,
        "eip": address_data(model.eip),
        "linear": address_data(model.linear),
        "cpl": model.cpl,
        "symbol": model.symbol,
        "breakpoint": model.breakpoint,
        "instruction": str(model.instruction) if model.instruction else None,
        "halted": model.halted,
    }


@text.register
def _(_model: Running, _style: Style) -> str:
    return "running: 'interrupt' or Ctrl-C stops it"


@data.register
def _(_model: Running, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/running/1", "running": True}


@text.register
def _(model: MemoryDump, style: Style) -> str:
    return "\n".join(_dump_lines(model, style))


def _dump_lines(model: MemoryDump, style: Style) -> Iterator[str]:
    start, width = model.address.value, model.width
    symbol = style.symbol(start) if model.address.space == "linear" else None
    if model.address.space == "physical":
        yield style.paint("dim", "physical memory")
    if symbol:
        yield style.paint("cyan", f"<{symbol}>")
    cells = _BYTES_A_LINE // width * (2 * width + 1) + (width == 1)
    for at in range(0, len(model.raw), _BYTES_A_LINE):
        raw = model.raw[at : at + _BYTES_A_LINE]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in raw)
        yield f"{start + at:#010x}  {_words(raw, width):{cells}} {shown}"


def _words(raw: bytes, width: int) -> str:
    words = [raw[i : i + width][::-1].hex() for i in range(0, len(raw), width)]
    if width == 1:
        words.insert(8, "")
    return " ".join(words)


@data.register
def _(model: MemoryDump, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/mem/1",
        "space": model.address.space,
        "address": address_data(model.address.value),
        "symbol": style.symbol(model.address.value) if model.address.space == "linear" else None,
        "size": len(model.raw),
        "bytes": model.raw.hex(),
    }


@text.register
def _(model: Listing, style: Style) -> str:
    lines: list[str] = []
    function = None
    for instruction in model.instructions:
        name = style.symbol(instruction.address)
        if name and name.partition("+")[0] != function:
            function = name.partition("+")[0]
            lines.append(style.paint("cyan", f"{name}:"))
        mark = "=>" if instruction.address == model.current else "  "
        lines.append(f"{mark} {_code(instruction, style)}")
    return "\n".join(lines)


def _code(instruction: Instruction, style: Style) -> str:
    target = style.symbol(instruction.target) if instruction.target is not None else None
    note = f"  {style.paint('cyan', f'<{target}>')}" if target else ""
    raw = instruction.raw.hex(" ")
    width = 22 if instruction.address < 1 << 32 else 14
    shown = raw if len(raw) <= width else raw[: (width - 1) // 3 * 3 - 1] + ".."
    return f"{instruction.address:#010x}  {shown:{width}}  {instruction}{note}"


@data.register
def _(model: Listing, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/dis/1",
        "bits": model.bits,
        "instructions": [
            {
                "address": address_data(i.address),
                "symbol": style.symbol(i.address),
                "raw": i.raw.hex(),
                "mnemonic": i.mnemonic,
                "operands": i.operands,
                "target": i.target if i.target is None else address_data(i.target),
                "current": i.address == model.current,
            }
            for i in model.instructions
        ],
    }


@text.register
def _(model: SymbolInfo, _style: Style) -> str:
    return f"{model.name} = {model.address:#010x}"


@data.register
def _(model: SymbolInfo, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/sym/1", "name": model.name, "address": address_data(model.address)}


@text.register
def _(model: BreakpointInfo, style: Style) -> str:
    return f"breakpoint {model.number} at {style.address(model.address)}"


@data.register
def _(model: BreakpointInfo, style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/breakpoint/1", **_breakpoint(model, style)}


@text.register
def _(model: BreakpointList, style: Style) -> str:
    of_gdb = [f"gdb's: {style.address(address)}" for address in model.gdb]
    if not model.breakpoints:
        return "\n".join(of_gdb) or "no breakpoints"
    rows = [
        (str(b.number), style.address(b.address), _short(b.wanted), f"{b.hits}")
        for b in model.breakpoints
    ]
    table = columns([("number", "address", "asked for", "hits"), *rows], right="r  r")
    wide = filter(_is_long, model.breakpoints)
    long = [textwrap.wrap(f"{b.number}: {b.wanted}", WIDTH) for b in wide]
    return "\n".join([table, *(line for lines in long for line in lines), *of_gdb])


def _short(wanted: str) -> str:
    return wanted if len(wanted) <= _LONGEST_WANTED else f"{wanted[: _LONGEST_WANTED - 2]}.."


def _is_long(model: BreakpointInfo) -> bool:
    return len(model.wanted) > _LONGEST_WANTED


@data.register
def _(model: BreakpointList, style: Style) -> dict[str, object]:
    listed = [_breakpoint(b, style) for b in model.breakpoints]
    of_gdb = [address_data(address) for address in model.gdb]
    return {"schema": "klosdbg/breakpoints/1", "breakpoints": listed, "gdb": of_gdb}


def _breakpoint(model: BreakpointInfo, style: Style) -> dict[str, object]:
    return {
        "number": model.number,
        "address": address_data(model.address),
        "symbol": style.symbol(model.address),
        "wanted": model.wanted,
        "hits": model.hits,
    }


@text.register
def _(model: Written, _style: Style) -> str:
    return f"{model.where}: {model.before} -> {model.after}"


@data.register
def _(model: Written, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/set/1",
        "where": model.where,
        "before": hex64(int(model.before, 16)),
        "after": hex64(int(model.after, 16)),
    }


@text.register
def _(model: ConsoleText, _style: Style) -> str:
    return printable(model.raw).rstrip("\n")


@data.register
def _(model: ConsoleText, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/console/1", "text": printable(model.raw)}


@text.register
def _(model: GdbOutput, _style: Style) -> str:
    return printable(model.output.encode()).rstrip("\n")


@data.register
def _(model: GdbOutput, _style: Style) -> dict[str, object]:
    output, error = printable(model.output.encode()), model.failure
    return {"schema": "klosdbg/gdb/1", "command": model.command, "output": output, "error": error}


@text.register
def _(model: Remark, style: Style) -> str:
    return style.paint("bold", model.text) or " "


@data.register
def _(model: Remark, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/echo/1", "text": model.text}


@text.register
def _(model: HelpText, _style: Style) -> str:
    return model.text


@data.register
def _(model: HelpText, _style: Style) -> dict[str, object]:
    listed = [{"name": name, "summary": summary} for name, summary in model.commands]
    return {"schema": "klosdbg/help/1", "commands": listed}
