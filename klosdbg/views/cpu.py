"""Views of the processor: its registers, its segment registers, and what a selector selects."""

import textwrap

from klosdbg.models import SegmentState, SegmentStates, SelectorInfo
from klosdbg.views.base import WIDTH, Style, address_data, columns, data, hex64, text
from klosdbg.views.descriptors import descriptor_data, in_one_line, kind_of
from klosdbg.x86.cpu import SEGMENTS, Cpu, SegmentRegister, TableRegister
from klosdbg.x86.flags import decode_flags

_GPR_COLUMNS = {8: 4, 16: 3}
_SHORT = 28
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "efer")


@text.register
def _(model: Cpu, style: Style) -> str:
    digits = 16 if any(name.startswith("r") for name in model.gpr) else 8
    gpr = [f"{name} {value:0{digits}x}" for name, value in model.gpr.items()]
    across = _GPR_COLUMNS[digits]
    rows = [gpr[at : at + across] for at in range(0, len(gpr), across)]
    lines = [
        f"{style.paint('bold', model.mode)} mode, ring {model.cpl}"
        + f", paging {_paging(model) or 'unknown'}"
        + (", halted" if model.hlt else "")
        + ("" if model.a20 else ", A20 off")
        + (", SMM" if model.smm else ""),
        columns(rows, indent="  "),
        f"  eip {model.eip:0{digits}x}  linear {style.address(model.linear_pc, digits)}",
    ]
    registers = (("eflags", model.eflags), ("cr0", model.cr0), ("cr4", model.cr4))
    lines += [_flag_line(name, value) for name, value in registers if name not in model.untold]
    if model.efer and "efer" not in model.untold:
        lines.append(_flag_line("efer", model.efer))
    if not model.untold & {"cr2", "cr3"}:
        lines.append(f"  cr2 {model.cr2:0{digits}x}  cr3 {model.cr3:0{digits}x}")
    heading = f"        sel   {'base':{digits}}  last byte"
    lines.append(style.paint("dim", heading))
    lines += [
        _segment_line(segment, digits, model.long_mode)
        for name, segment in model.segments.items()
        if name not in model.untold
    ]
    lines += [
        f"  {name}        {table.base:0{digits}x}  {table.limit:08x}"
        for name, table in (("gdtr", model.gdtr), ("idtr", model.idtr))
        if name not in model.untold
    ]
    return "\n".join([*lines, *_untold_lines(model)])


def _paging(model: Cpu) -> str | None:
    return None if "cr0" in model.untold else model.paging


def _untold_lines(model: Cpu) -> list[str]:
    """Show selectors without hidden parts, and name what nobody told."""
    hidden = [model.segments[name] for name in SEGMENTS if name in model.untold]
    lines = [f"  {s.name:4}  {s.selector:04x}  hidden part not told: taken as flat" for s in hidden]
    others = sorted(model.untold - set(SEGMENTS))
    return [*lines, f"  not told: {', '.join(others)}"] if others else lines


def _flag_line(register: str, value: int) -> str:
    flags = decode_flags(register, value)
    names = " ".join(
        field.name if flags.fields[field.name] == 1 else f"{field.name}={flags.fields[field.name]}"
        for field in reversed(flags.set_fields)
    )
    return f"  {register:6} {value:08x}  {names}".rstrip()


def _segment_line(segment: SegmentRegister, digits: int, long_mode: bool) -> str:
    hidden = f"{segment.base:0{digits}x}  {segment.limit:08x}"
    kind = kind_of(segment.descriptor)
    kind = kind.replace("tss32", "tss64") if long_mode else kind
    note = f"dpl {segment.dpl}  {kind}" if segment.present else "not present"
    return f"  {segment.name:4}  {segment.selector:04x}  {hidden}  {note}"


@data.register
def _(model: Cpu, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/regs/1",
        "mode": model.mode,
        "paging": _paging(model),
        "cpl": model.cpl,
        "iopl": model.iopl,
        "halted": model.hlt,
        "a20": model.a20,
        "smm": model.smm,
        **{name: _number(name, value) for name, value in model.gpr.items()},
        "eip": address_data(model.eip),
        "linear": address_data(model.linear_pc),
        "symbol": style.symbol(model.linear_pc),
        "eflags": model.eflags,
        **{n: _told(model, n, hex64(getattr(model, n))) for n in _CONTROL},
        **{f"dr{n}": hex64(value) for n, value in model.dr.items()},
        "segments": {n: _segment_data(model, segment) for n, segment in model.segments.items()},
        "gdtr": _told(model, "gdtr", _table_data(model.gdtr)),
        "idtr": _told(model, "idtr", _table_data(model.idtr)),
    }


def _told(model: Cpu, name: str, value: object) -> object:
    return None if name in model.untold else value


def _segment_data(model: Cpu, segment: SegmentRegister) -> object:
    told = segment.name not in model.untold
    return _hidden_data(segment) if told else {"selector": segment.selector}


def _table_data(table: TableRegister) -> dict[str, object]:
    return {"base": hex64(table.base), "limit": table.limit}


def _number(name: str, value: int) -> object:
    return hex64(value) if name.startswith("r") else value


def _hidden_data(segment: SegmentRegister) -> dict[str, object]:
    return {
        "selector": segment.selector,
        "base": hex64(segment.base),
        "limit": segment.limit,
        "flags": segment.flags,
        "dpl": segment.dpl,
        "present": segment.present,
    }


@text.register
def _(model: SegmentStates, style: Style) -> str:
    heading = ("", "sel", "hidden base", "last byte", "dpl", "kind", "in memory")
    shown = columns([heading, *(_state_row(state, style) for state in model.registers)])
    first, *lines = shown.split("\n")
    pairs = zip(lines, model.registers, strict=True)
    return "\n".join((first, *(line + _differences(state, style) for line, state in pairs)))


def _state_row(state: SegmentState, style: Style) -> tuple[str, ...]:
    hidden = state.hidden
    if not hidden.present and state.why:
        shown = ("-", "-", "-", "-")
    else:
        shown_as = hidden.descriptor if state.differences else state.descriptor or hidden.descriptor
        kind = kind_of(shown_as) if hidden.s or hidden.type else "-"
        shown = (f"{hidden.base:08x}", f"{hidden.limit:08x}", str(hidden.dpl), kind)
    return (
        style.paint("bold", state.name),
        f"{hidden.selector:04x}",
        *shown,
        _verdict(state, style),
    )


def _verdict(state: SegmentState, style: Style) -> str:
    if state.differences:
        return style.paint("yellow", "differs")
    if len(state.why) > _SHORT:
        return style.paint("yellow", "nothing")
    return state.why or "the same"


def _differences(state: SegmentState, style: Style) -> str:
    said = state.why if state.differences or len(state.why) > _SHORT else ""
    if state.differences and state.descriptor is not None:
        words = ", ".join(f"{n} {_stored(state, n)}".rstrip() for n in state.differences)
        said = f"memory now has {state.descriptor.kind}, {words}"
    lead = " " * 6
    filled = textwrap.fill(said, WIDTH, initial_indent=lead, subsequent_indent=lead)
    return "\n" + style.paint("yellow", filled) if said else ""


def _stored(state: SegmentState, name: str) -> str:
    """Show a field as it stands in memory; the limit as the last byte, like the hidden part's."""
    found = getattr(state.descriptor, "last_byte" if name == "limit" else name, None)
    if isinstance(found, bool):
        return str(int(found))
    return f"{found:#x}" if isinstance(found, int) else ""


@data.register
def _(model: SegmentStates, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/sregs/1",
        "registers": [
            {
                "name": state.name,
                **_hidden_data(state.hidden),
                "memory": state.descriptor and descriptor_data(state.descriptor, style),
                "differences": list(state.differences),
                "why": state.why,
            }
            for state in model.registers
        ],
    }


@text.register
def _(model: SelectorInfo, style: Style) -> str:
    selector = model.selector
    name = f" {style.paint('green', model.name)}" if model.name else ""
    place = f"{selector.table.upper()} slot {selector.index}, rpl {selector.rpl}"
    why = model.why
    if model.paragraph:
        place = f"base {selector.raw << 4:#x}"
        why = f"{model.why} mode: the base is selector x 16, no table is walked"
    lines = [f"selector {selector.raw:#06x}{name}: {place}"]
    if model.address is not None:
        lines.append(f"  entry at {style.address(model.address)}")
    if model.descriptor is not None:
        lines.append(f"  {in_one_line(model.descriptor, style, model.target_base)}")
    if why:
        lines.append(f"  {why}")
    if model.held_by:
        lines.append(f"  held by {', '.join(model.held_by)}")
    return "\n".join(lines)


@data.register
def _(model: SelectorInfo, style: Style) -> dict[str, object]:
    address = model.address
    return {
        "schema": "klosdbg/sel/1",
        "selector": model.selector.raw,
        "index": model.selector.index,
        "table": model.selector.table,
        "rpl": model.selector.rpl,
        "name": model.name,
        "address": hex64(address) if address is not None else None,
        "descriptor": model.descriptor and descriptor_data(model.descriptor, style),
        "held_by": list(model.held_by),
        "why": model.why,
        "base": model.selector.raw << 4 if model.paragraph else None,
    }
