"""Views of KLOS's tables: processes, threads, services, handlers, page frames."""

from klosdbg.klos.abi import KlosProcess
from klosdbg.klos.constants import NONE, Process, State, Wait, flag_labels, label
from klosdbg.klos.models import (
    FrameUse,
    HandlerList,
    HandlerRow,
    MemoryUse,
    ProcessList,
    ServiceList,
    ThreadList,
    ThreadState,
)
from klosdbg.views.base import WIDTH, Style, columns, data, text, visible_length
from klosdbg.views.klos import structure_data
from klosdbg.x86.vectors import vector_name

_FRAME = 4096
_SHORT_NAME = 8


@text.register
def _(model: ProcessList, style: Style) -> str:
    head = ("", "pid", "name", "state", "parent", "threads", "memory", "cr3")
    rows = [head, *(_process(p, model.current_pid, style) for p in model.processes)]
    head_line, *lines = columns(rows, right=" r  rrr").split("\n")
    notes = map(_process_note, model.processes)
    return "\n".join([head_line, *map(_with_note, lines, notes)])


def _with_note(line: str, note: str) -> str:
    fits = visible_length(line) + 2 + visible_length(note) <= WIDTH
    return (line + ("  " if fits else "\n      ") + note).rstrip()


def _process(process: KlosProcess, current: int, style: Style) -> tuple[str, ...]:
    name = process.name
    return (
        "*" if process.pid == current else "",
        str(process.pid),
        style.paint("cyan", name),
        label(State, process.state),
        str(process.parent),
        str(process.threads),
        f"{process.frames * _FRAME >> 10} KiB",
        f"{process.cr3:#010x}",
    )


def _process_note(process: KlosProcess) -> str:
    notes = [flag_labels(Process, process.flags), process.arguments]
    if process.state == State.ENDED:
        vector = process.end_vector
        name = vector_name(vector) or f"vector {vector:#x}"
        notes.append(f"exit {process.exit_code}" if vector == NONE else f"ended by {name}")
    notes += [_counted(process.faults, "fault"), _counted(process.messages, "message")]
    return ", ".join(note for note in notes if note)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}" if count else ""


@data.register
def _(model: ProcessList, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/ps/1",
        "current_pid": model.current_pid,
        "processes": [
            structure_data(p) | {"state": label(State, p.state)} for p in model.processes
        ],
    }


@text.register
def _(model: ThreadList, style: Style) -> str:
    head = ("", "tid", "pid", "process", "state", "ticks", "switches")
    rows = [head, *(_thread(state, style) for state in model.threads)]
    places = ["stands at", *(_place(state, style) for state in model.threads)]
    return "\n".join(map(_with_note, columns(rows, right=" rr  rr").split("\n"), places))


def _thread(state: ThreadState, style: Style) -> tuple[str, ...]:
    thread = state.thread
    waits = thread.state == State.BLOCKED
    return (
        "*" if state.current else "",
        str(thread.tid),
        str(thread.pid),
        style.paint("cyan", state.process),
        label(Wait, thread.wait) if waits else label(State, thread.state),
        str(thread.ticks),
        str(thread.switches),
    )


def _place(state: ThreadState, style: Style) -> str:
    return "in an event" if state.eip is None else style.address(state.eip)


@data.register
def _(model: ThreadList, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/threads/1",
        "threads": [_thread_data(t, style) for t in model.threads],
    }


def _thread_data(state: ThreadState, style: Style) -> dict[str, object]:
    thread = state.thread
    return structure_data(thread) | {
        "state": label(State, thread.state),
        "wait": label(Wait, thread.wait),
        "process": state.process,
        "current": state.current,
        "eip": state.eip,
        "esp": state.esp,
        "symbol": style.symbol(state.eip) if state.eip is not None else None,
        "frame": structure_data(state.frame) if state.frame else None,
    }


@text.register
def _(model: ServiceList, style: Style) -> str:
    rows = [("number", "name", "prologue", "function")]
    rows += [
        (
            str(service.number),
            style.paint("cyan", service.name),
            f"{service.prologue:#010x}",
            style.address(service.function),
        )
        for service in model.services
    ]
    return f"{columns(rows, right='r')}\nDesign A's table has {len(model.table)} entries"


@data.register
def _(model: ServiceList, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/services/1",
        "services": [structure_data(service) for service in model.services],
        "service_table": list(model.table),
    }


@text.register
def _(model: HandlerList, style: Style) -> str:
    rows: list[tuple[str, ...]] = [("vector", "", "gate", "dpl", "stub", "handler")]
    rows += [_handler(row, style) for row in model.rows]
    shown = columns(rows, right="r")
    if not model.left_out or model.default is None:
        return shown
    return f"{shown}\n{model.left_out} more: {style.address(model.default)} ('handlers --all')"


def _handled(row: HandlerRow, style: Style) -> str:
    if row.handler is not None:
        return style.address(row.handler)
    where = style.symbol(row.stub) if row.stub is not None else None
    how = "task" if row.gate == "task-gate" else "none"
    return f"{how}: <{where}>" if where else how


def _handler(row: HandlerRow, style: Style) -> tuple[str, ...]:
    return (
        f"{row.vector:#x}",
        row.name if len(row.name) <= _SHORT_NAME else "",
        row.gate,
        "" if row.dpl is None else f"{row.dpl}",
        "?" if row.stub is None else f"{row.stub:#010x}",
        _handled(row, style),
    )


@data.register
def _(model: HandlerList, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/handlers/1",
        "default": model.default,
        "handlers": [
            {
                "vector": row.vector,
                "name": row.name,
                "gate": row.gate,
                "dpl": row.dpl,
                "stub": row.stub,
                "stub_symbol": None if row.stub is None else style.symbol(row.stub),
                "handler": row.handler,
                "handler_symbol": None if row.handler is None else style.symbol(row.handler),
            }
            for row in model.rows
        ],
    }


@text.register
def _(model: MemoryUse, _style: Style) -> str:
    rows: list[tuple[str, ...]] = [("owner", "frames", "memory", "")]
    rows += [_use(use, model.total) for use in model.uses]
    rows.append(("all", str(model.total), f"{model.total * _FRAME >> 10} KiB", ""))
    return columns(rows, right=" rrr")


def _use(use: FrameUse, total: int) -> tuple[str, ...]:
    owner = use.owner
    name = owner if use.pid is None else f"pid {use.pid} {owner}"
    share = f"{use.frames / total:.1%}" if total else ""
    return name, str(use.frames), f"{use.frames * _FRAME >> 10} KiB", share


@data.register
def _(model: MemoryUse, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/frames/1",
        "frame_size": _FRAME,
        "total": model.total,
        "owners": [{"owner": u.owner, "pid": u.pid, "frames": u.frames} for u in model.uses],
    }
