"""Error codes that exceptions push (SDM Vol. 3A, 6.13; #PF: 4.7; #CP: 6.15).

 31         16 15                    3   2   1   0
+-------------+-----------------------+---+---+---+
|  reserved   |         index         |TI |IDT|EXT|
+-------------+-----------------------+---+---+---+

#PF: 15 SGX, 7 HLAT, 6 SS, 5 PK, 4 I/D, 3 RSVD, 2 U/S, 1 W/R, 0 P
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.bits import bit, bits
from klosdbg.x86.vectors import PUSH_ERROR_CODE, vector_name

Form = Literal["selector", "page-fault", "control-protection", "zero", "none"]

_PF_BITS = {"p": 0, "w": 1, "u": 2, "rsvd": 3, "i": 4, "pk": 5, "ss": 6, "hlat": 7, "sgx": 15}
_CP_KINDS = {
    1: "near return did not match the shadow stack",
    2: "far return or iret did not match the shadow stack",
    3: "an indirect branch did not land on endbranch",
    4: "rstorssp found no valid restore token",
    5: "setssbsy found no valid supervisor token",
}
_FORMS: Mapping[int, Form] = {8: "zero", 14: "page-fault", 17: "zero", 21: "control-protection"}
_VECTORS = 256


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An error code and the vector that pushed it, None where that is not known.

    Without a vector the code is read in the selector form, that of #TS, #NP, #SS and #GP.
    """

    raw: int
    vector: int | None = None

    @property
    def form(self) -> Form:
        """Which of the formats the vector's error code has; ``none``: it pushes none."""
        if self.vector is None:
            return "selector"
        if self.vector not in PUSH_ERROR_CODE:
            return "none"
        return _FORMS.get(self.vector, "selector")

    @property
    def ext(self) -> int:
        """Selector form: 1 where an event outside the program was being delivered."""
        return bits(self.raw, 0, 0)

    @property
    def idt(self) -> int:
        """Selector form: 1 where the index names a gate of the IDT."""
        return bits(self.raw, 1, 1)

    @property
    def ti(self) -> int:
        """Selector form: the table indicator, which means nothing where ``idt`` is 1."""
        return bits(self.raw, 2, 2)

    @property
    def index(self) -> int:
        """Selector form: the index of the entry, or the vector where ``idt`` is 1."""
        return bits(self.raw, 15, 3)

    @property
    def table(self) -> Literal["gdt", "ldt", "idt"]:
        """Selector form: the table that the index points into."""
        if self.idt:
            return "idt"
        return "ldt" if self.ti else "gdt"

    @property
    def selector(self) -> int | None:
        """Selector form: the selector, RPL lost; None where the index is a vector."""
        return None if self.idt else self.raw & 0xFFFC

    @property
    def null(self) -> bool:
        """Tell whether it names no entry: index 0 of the GDT."""
        return not self.idt and self.selector == 0

    @property
    def reserved(self) -> int:
        """The bits that the format reserves and that are not 0."""
        used = {"selector": 0xFFFF, "page-fault": 0x80FF, "control-protection": 0xFFFF}
        return self.raw & ~used.get(self.form, 0)

    @property
    def fields(self) -> Mapping[str, int]:
        """The fields of the vector's format, in ascending order of bits."""
        if self.form == "page-fault":
            return {name: int(bit(self.raw, at)) for name, at in _PF_BITS.items()}
        if self.form == "control-protection":
            return {"cpec": bits(self.raw, 14, 0), "encl": bits(self.raw, 15, 15)}
        if self.form == "selector":
            return {"ext": self.ext, "idt": self.idt, "ti": self.ti, "index": self.index}
        return {}

    @property
    def explanation(self) -> str:
        """Say in a sentence what the code means."""
        return _EXPLAIN[self.form](self)

    @property
    def access(self) -> str | None:
        """Say which access raised a page fault; None in the other forms.

        I/D is 0 for a fetch as well where neither CR4.SMEP nor CR4.PAE with EFER.NXE is 1, which
        the code does not tell. Protection keys and shadow stacks concern data alone.
        """
        if self.form != "page-fault":
            return None
        fields = self.fields
        if fields["i"]:
            return "instruction fetch"
        data = "write" if fields["w"] else "read"
        if fields["ss"]:
            return f"shadow-stack {data}"
        return data if fields["w"] or fields["pk"] else "read or instruction fetch"

    @property
    def doubt(self) -> str | None:
        """Say why the code may not mean what it says; None where nothing speaks against it."""
        if self.form == "selector" and self.idt and self.index >= _VECTORS:
            return f"no vector is above 255; QEMU once pushed vector * 16 + 2: {self.index // 2:#x}"
        if self.reserved:
            return f"reserved bits are set: {self.reserved:#x}"
        if self.access == "read or instruction fetch":
            return "i=0 means no fetch only if CR4.SMEP=1, or CR4.PAE=1 and EFER.NXE=1"
        return None


def decode_error_code(raw: int, vector: int | None = None) -> ErrorCode:
    """Decode an error code as ``vector`` pushes it. Total."""
    return ErrorCode(raw, vector)


def _selector_form(code: ErrorCode) -> str:
    outside = ", while an event from outside the program was delivered" if code.ext else ""
    if code.idt:
        name = vector_name(code.index)
        return f"gate {code.index:#x}{f' ({name})' if name else ''} of the IDT{outside}"
    if code.null:
        return f"no selector, or the null selector{outside}"
    return f"selector {code.selector:#06x}: {code.table.upper()} entry {code.index}{outside}"


def _page_fault(code: ErrorCode) -> str:
    fields = code.fields
    who = "user" if fields["u"] else "supervisor"
    return f"{who} {code.access}: {_page_fault_cause(fields)}"


def _page_fault_cause(fields: Mapping[str, int]) -> str:
    rights = "its rights forbid it"
    if fields["i"]:
        other = "U/S=0 at one" if fields["u"] else "SMEP and U/S=1 at all"
        rights = f"XD=1 at one of its levels, or {other}, forbids it"
    causes = {
        "sgx": "SGX refuses it",
        "rsvd": "a reserved bit is set in a paging entry",
        "hlat": "the HLAT tables do not map the page",
        "pk": "the page's protection key forbids it",
        "p": f"the page is there, but {rights}",
    }
    return next((why for name, why in causes.items() if fields[name]), "the page is not present")


def _control_protection(code: ErrorCode) -> str:
    why = _CP_KINDS.get(code.fields["cpec"], f"unknown cause {code.fields['cpec']}")
    return f"{why}, in an enclave" if code.fields["encl"] else why


def _zero(code: ErrorCode) -> str:
    name = vector_name(code.vector or 0)
    return f"{name} always pushes 0" + (", so this is no error code of it" if code.raw else "")


def _none(code: ErrorCode) -> str:
    name = vector_name(code.vector or 0) or f"vector {code.vector:#x}"
    return f"{name} pushes no error code"


_EXPLAIN = {
    "selector": _selector_form,
    "page-fault": _page_fault,
    "control-protection": _control_protection,
    "zero": _zero,
    "none": _none,
}
