"""Views of the control registers: one block of named bits a register."""

from klosdbg.views.base import Style, columns, data, hex64, text
from klosdbg.views.findings import finding_data, finding_lines
from klosdbg.x86.control import Control, Cr2, Cr3

_ROOTS = {
    "32-bit": "page directory",
    "PSE": "page directory",
    "PAE": "page-directory pointers",
    "4-level": "PML4",
    "5-level": "PML5",
}
_MEANINGS = {
    "pwt": "its table is cached write-through",
    "pcd": "its table is not cached",
    "pcid": "process-context identifier",
    "lam_u57": "masks user pointers above bit 56",
    "lam_u48": "masks user pointers above bit 47",
}
_PCIDE = {"pwt": 0, "pcd": 0, "pcid": 1}


@text.register
def _(model: Control, style: Style) -> str:
    blocks = [text(register, style) for register in model.registers]
    return "\n\n".join(filter(None, (*blocks, finding_lines(model.findings, style))))


@data.register
def _(model: Control, style: Style) -> dict[str, object]:
    documents = (data(register, style) for register in model.registers)
    return {
        "schema": "klosdbg/cr/1",
        "registers": [{n: v for n, v in each.items() if n != "schema"} for each in documents],
        "findings": [finding_data(found) for found in model.findings],
    }


@text.register
def _(model: Cr2, style: Style) -> str:
    shown = style.address(model.raw)
    return f"{style.paint('bold', 'cr2')} = {shown}\n  where the last page fault was, linear"


@data.register
def _(model: Cr2, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/cr2/1",
        "register": model.register,
        "raw": hex64(model.raw),
        "symbol": style.symbol(model.raw),
    }


@text.register
def _(model: Cr3, style: Style) -> str:
    unused = "paging is off: it is not in use"
    root = f"{_ROOTS[model.mode]} at physical {model.base:#x}" if model.mode else unused
    fields = [(n, str(v), _meaning(model, n)) for n, v in reversed([*model.fields.items()]) if v]
    lines = [f"{style.paint('bold', 'cr3')} = {model.raw:#010x}", f"  {root}"]
    return "\n".join(filter(None, (*lines, columns(fields, indent="  "))))


def _meaning(cr3: Cr3, field: str) -> str:
    condition = f", if CR4.PCIDE={_PCIDE[field]}" if cr3.pcide is None and field in _PCIDE else ""
    return _MEANINGS[field] + condition


@data.register
def _(model: Cr3, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/cr3/1",
        "register": model.register,
        "raw": hex64(model.raw),
        "mode": model.mode,
        "base": hex64(model.base),
        **model.fields,
    }
