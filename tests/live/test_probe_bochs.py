"""The probe guest under Bochs, which enforces everything."""

from pathlib import Path

import pytest
from klosdbg.targets.probe import PROBE_IMAGE
from klosdbg.x86.enforcement import ProbeReport, decode_probe_report
from tests import bochs
from tests.bochs_text import parse_info_gdt, parse_memory_dump, parse_sreg
from tests.build import make

WHY_NOT = bochs.available()

pytestmark = [
    pytest.mark.bochs,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.xdist_group("bochs"),
]


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make(PROBE_IMAGE.parents[1])
    return bochs.build_iso(PROBE_IMAGE, tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def report(iso: Path) -> ProbeReport:
    return decode_probe_report(bochs.run(iso))


def address(symbol: str) -> int:
    for line in PROBE_IMAGE.with_suffix(".sym").read_text().splitlines():
        if line.endswith(f" {symbol}"):
            return int(line.split()[0], 16)
    raise KeyError(symbol)


def test_every_row_is_as_on_hardware(report: ProbeReport) -> None:
    """Bochs differs from hardware in no row."""
    assert report.complete
    assert len(report.rows) == report.announced == 162
    assert [row.id for row in report.rows if not row.enforced] == []


def test_undefined_bits_alone_look_different(report: ProbeReport) -> None:
    """LAR of an absent segment: Bochs fills bits 16 to 19 with the limit, which nothing defines."""
    different = [
        row for row in report.rows if row.got.startswith("eax=") and row.got != row.expected
    ]
    assert {row.id for row in different} <= {"lar-absent-data", "smsw"}
    assert report.row("lar-absent-data").got == "eax=0xcf7200"


def test_stop_at_an_address(iso: Path) -> None:
    """The debugger's text, its raw dump and ``writemem`` agree on the GDT."""
    where, gdt = address("row_ring3_basic"), address("gdt")
    words = f"x /16wx {gdt:#x}"
    stop = bochs.stop_at(iso, where, ["info gdt 0 63", words, "sreg"], [(gdt, 64)])
    table = parse_info_gdt(stop.outputs["info gdt 0 63"])
    registers = parse_sreg(stop.outputs["sreg"])
    assert table["base"] == registers["gdtr"]["base"] == gdt
    assert table["limit"] == registers["gdtr"]["limit"] == 511
    assert len(table["entries"]) == 64
    assert parse_memory_dump(stop.outputs[words]) == stop.memory[0]
    assert registers["cs"]["selector"] == 0x1B
    assert stop.console.splitlines()[-1].startswith("ROW|set-cr0-pg|")


def test_what_cannot_be_reached_is_an_error(iso: Path) -> None:
    """A wrong address, an unknown command and unmapped memory each say so."""
    with pytest.raises(bochs.BochsError, match="did not reach 0xdead0000: END"):
        bochs.stop_at(iso, 0xDEAD0000, ["sreg"])
    with pytest.raises(bochs.BochsError, match="does not know a command"):
        bochs.stop_at(iso, address("row_ring3_basic"), ["nonsense"])
    with pytest.raises(bochs.BochsError, match="is not mapped"):
        bochs.stop_at(iso, address("row_ring3_basic"), dumps=[(0xF0000000, 16)])
    with pytest.raises(bochs.BochsError, match="did not end in"):
        bochs.run(iso, timeout=0.2)
