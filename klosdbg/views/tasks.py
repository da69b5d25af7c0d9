"""Views of the tasks that the processor switches."""

from collections.abc import Iterator

from klosdbg.tasks.models import Task, Tasks
from klosdbg.views.base import Style, columns, data, text

_ROOM, _ROOM_OF_MANY = 20, 15
"""What is left of 80 columns for the last one, and where the state says which processor."""
_HEADING = ("  ", "sel", "bits", "ldt", "cr3", "cs:eip", "back", "state", "where")


@text.register
def _(model: Tasks, style: Style) -> str:
    count = f"{len(model.tasks)} {'TSS' if len(model.tasks) == 1 else 'TSSs'}"
    head = f"{style.paint('bold', 'tasks')} in the GDT at {style.address(model.base)}: {count}"
    lines = [head]
    if model.tasks:
        lines.append(columns([_HEADING, *(_row(model, task, style) for task in model.tasks)]))
    return "\n".join([*lines, *_notes(model)])


def _row(model: Tasks, task: Task, style: Style) -> tuple[str, ...]:
    eip = 4 if task.tss.bits == 16 and not task.current else 8
    return (
        "->" if task.current else "  ",
        f"{task.selector:04x}",
        f"{task.tss.bits}",
        _hex(task.ldt or None, 4),
        _hex(task.cr3, 8),
        f"{_hex(task.cs, 4)}:{_hex(task.eip, eip)}",
        _hex(task.back_link, 4) if task.nested else "-",
        _state(model, task),
        _fitted(_where(task, style), _ROOM if model.processors == 1 else _ROOM_OF_MANY),
    )


def _hex(value: int | None, digits: int) -> str:
    return "-" if value is None else f"{value:0{digits}x}"


def _state(model: Tasks, task: Task) -> str:
    if task.current:
        return f"runs on {task.processor}" if model.processors > 1 else "runs"
    return "busy" if task.busy else "waits"


def _where(task: Task, style: Style) -> str:
    if task.refusal:
        return task.refusal
    if task.linear is None:
        return "no code segment"
    return style.symbol(task.linear) or f"{task.linear:08x}"


def _fitted(where: str, room: int) -> str:
    """Cut a symbol that is too long, and keep its offset."""
    name, plus, offset = where.partition("+")
    over = len(where) - room
    return f"{name[: -over - 2]}..{plus}{offset}" if over > 0 else where


def _notes(model: Tasks) -> Iterator[str]:
    if not any(task.selector == model.tr & ~3 for task in model.tasks):
        yield f"TR holds {model.tr:#06x}, which selects no TSS in this GDT: see 'sregs'"
    elif model.one_per_processor:
        yield "one TSS per processor: each holds stacks, and no task is switched to"
    else:
        yield "->  what the processor holds; of the others, what their TSSs have saved"


@data.register
def _(model: Tasks, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/tasks/1",
        "base": model.base,
        "limit": model.limit,
        "tr": model.tr,
        "processors": model.processors,
        "one_per_processor": model.one_per_processor,
        "tasks": [_task(task, style) for task in model.tasks],
    }


def _task(task: Task, style: Style) -> dict[str, object]:
    return {
        "selector": task.selector,
        "bits": task.tss.bits,
        "base": task.tss.base,
        "limit": task.descriptor.last_byte,
        "ldt": task.ldt,
        "cr3": task.cr3,
        "cs": task.cs,
        "eip": task.eip,
        "eflags": task.eflags,
        "back_link": task.back_link,
        "nested": task.nested,
        "busy": task.busy,
        "current": task.current,
        "processor": task.processor,
        "linear": task.linear,
        "symbol": None if task.linear is None else style.symbol(task.linear),
        "refusal": task.refusal or None,
    }
