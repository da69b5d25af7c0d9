"""The probe guest under Bochs, which enforces everything."""

import pytest
from klosdbg.images import PROBE
from tests import bochs
from tests.bochs_text import parse_info_gdt, parse_memory_dump, parse_sreg
from tests.live.probing import probe_iso, report_of_bochs
from tests.live.test_probe import ROWS

WHY_NOT = bochs.available()

pytestmark = [
    pytest.mark.bochs,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    # That of test_silicon.py, which wants the same report.
    pytest.mark.xdist_group("silicon"),
]

BOOT_SECTOR = 0x7C00
"""Where the BIOS loads GRUB: the first place that a guest of any kind reaches."""


def address(symbol: str) -> int:
    for line in PROBE.with_suffix(".sym").read_text().splitlines():
        if line.endswith(f" {symbol}"):
            return int(line.split()[0], 16)
    raise KeyError(symbol)


def test_every_row_is_as_on_hardware() -> None:
    """Bochs differs from hardware in no row."""
    report = report_of_bochs()
    assert report.complete
    assert len(report.rows) == report.announced == ROWS
    assert [row.id for row in report.rows if not row.enforced] == []


def test_undefined_bits_alone_look_different() -> None:
    """LAR of an absent segment: Bochs fills bits 16 to 19 with the limit, which nothing defines."""
    report = report_of_bochs()
    different = [
        row for row in report.rows if row.got.startswith("eax=") and row.got != row.expected
    ]
    assert {row.id for row in different} <= {"lar-absent-data", "smsw"}
    (lar,) = (row for row in report.rows if row.id == "lar-absent-data")
    assert lar.got == "eax=0xcf7200"


def test_stop_at_an_address() -> None:
    """The debugger's text, its raw dump and ``writemem`` agree on the GDT."""
    where, gdt = address("row_ring3_basic"), address("gdt")
    words = f"x /16wx {gdt:#x}"
    stop = bochs.stop_at(probe_iso(), where, ["info gdt 0 63", words, "sreg"], [(gdt, 64)])
    table = parse_info_gdt(stop.outputs["info gdt 0 63"])
    registers = parse_sreg(stop.outputs["sreg"])
    assert table["base"] == registers["gdtr"]["base"] == gdt
    assert table["limit"] == registers["gdtr"]["limit"] == 511
    assert len(table["entries"]) == 64
    assert parse_memory_dump(stop.outputs[words]) == stop.memory[0]
    assert registers["cs"]["selector"] == 0x1B
    assert stop.console.splitlines()[-1].startswith("ROW|set-cr0-pg|")


def test_what_cannot_be_reached_is_an_error() -> None:
    """A wrong address, an unknown command and unmapped memory each say so."""
    iso = probe_iso()
    with pytest.raises(bochs.BochsError, match="did not reach 0xdead0000: END"):
        bochs.stop_at(iso, 0xDEAD0000, ["sreg"])
    with pytest.raises(bochs.BochsError, match="does not know a command"):
        bochs.stop_at(iso, BOOT_SECTOR, ["nonsense"])
    with pytest.raises(bochs.BochsError, match="is not mapped"):
        bochs.stop_at(iso, BOOT_SECTOR, dumps=[(0xF0000000, 16)])
    with pytest.raises(bochs.BochsError, match="did not end in"):
        bochs.run(iso, timeout=0.2)
