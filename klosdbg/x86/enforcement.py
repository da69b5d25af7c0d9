"""What a processor, real or emulated, enforces: the report of the probe guest (guest/probe).

A report is text, one line a row::

    PROBE|1|machine=guest|rows=174|vendor=AuthenticAMD|hypervisor=TCGTCGTCGTCG|signature=0x663
    ROW|id|class|ring|expected|got|linear address where it ended|same, differs or skipped|title
    END|same=145|differs=29|skipped=0
"""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "cannot-start", "hangs", "crashes", "emulation-failure"]

_FIELDS_OF_A_ROW = 9


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One situation: what hardware does in it (``expected``) and what happened (``got``).

    ``ring`` is the CPL that the row begins with, ``linear`` the address where it ended. A row that
    was not tested says why in ``got``.
    """

    id: str
    row_class: str
    ring: int
    expected: str
    got: str
    linear: int
    verdict: str
    title: str

    @property
    def enforced(self) -> bool:
        """Tell whether the row ended as on hardware."""
        return self.verdict == "same"

    @property
    def tested(self) -> bool:
        """Tell whether the row could be tested at all."""
        return self.verdict != "skipped"


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe printed. ``complete`` means that it came to its end."""

    machine: str = ""
    vendor: str = ""
    hypervisor: str = ""
    announced: int = 0
    rows: tuple[ProbeRow, ...] = ()
    complete: bool = False
    panic: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A run of the probe under an accelerator, with the processor model that it was given."""

    accelerator: str
    status: Status
    reason: str = ""
    model: str = ""
    report: ProbeReport = ProbeReport()

    @property
    def rows(self) -> tuple[ProbeRow, ...]:
        """All rows that ended."""
        return self.report.rows


def decode_probe_report(text: str) -> ProbeReport:
    """Decode what the probe printed. Total: lines that are no report are passed over."""
    header: dict[str, str] = {}
    rows = []
    complete, panic = False, None
    for line in text.splitlines():
        kind, _, rest = line.partition("|")
        if kind == "PROBE":
            header = _named(rest)
        elif kind == "ROW":
            rows += _row(line)
        elif kind == "PANIC":
            panic = ", ".join(rest.split("|"))
        elif kind == "END":
            complete = True
    return ProbeReport(
        machine=header.get("machine", ""),
        vendor=header.get("vendor", ""),
        hypervisor=header.get("hypervisor", ""),
        announced=_number(header.get("rows", "0")),
        rows=tuple(rows),
        complete=complete,
        panic=panic,
    )


def _named(fields: str) -> dict[str, str]:
    return dict(field.split("=", 1) for field in fields.split("|") if "=" in field)


def _row(line: str) -> list[ProbeRow]:
    fields = line.split("|", _FIELDS_OF_A_ROW - 1)
    if len(fields) != _FIELDS_OF_A_ROW:
        return []
    _, row_id, row_class, ring, expected, got, linear, verdict, title = fields
    return [
        ProbeRow(
            row_id, row_class, _number(ring), expected, got, _number(linear), verdict, title.strip()
        )
    ]


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
