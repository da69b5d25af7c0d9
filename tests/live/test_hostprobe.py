"""The host's own processor: does it do what the probe says that hardware does?"""

import platform
import subprocess
from pathlib import Path

import pytest
from klosdbg.images import HOST_CYCLES, PROBE, build_id
from klosdbg.targets.probe import run_probe
from klosdbg.x86.enforcement import ProbeReport, decode_probe_report
from tests.build import make

HOSTPROBE = HOST_CYCLES.parents[1]
CANNOT_RUN = 77

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() not in ("x86_64", "i686"),
    reason="the host, whose processor is asked here, is not x86 Linux",
)


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    make(HOSTPROBE)


def ask(program: str) -> str:
    """Run a program of the host probe, or skip where the kernel does not let it."""
    try:
        ran = subprocess.run([HOSTPROBE / "build" / program], capture_output=True, timeout=300)
    except OSError as error:
        pytest.skip(f"the kernel does not run {program}: {error.strerror}")
    printed = ran.stdout.decode()
    if ran.returncode == CANNOT_RUN:
        pytest.skip(printed.strip())
    assert ran.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def report() -> ProbeReport:
    return decode_probe_report(ask("segments32"))


def test_the_processor_agrees(report: ProbeReport) -> None:
    """Every row that a process can have ends as expected."""
    assert report.complete
    assert [f"{row.id}: {row.got}" for row in report.rows if row.tested and not row.enforced] == []
    assert sum(row.tested for row in report.rows) >= 80


@pytest.mark.qemu
def test_the_expectations_are_those_of_the_probe(report: ProbeReport) -> None:
    """Rows of the same id expect the same, but for the table that the test descriptor is in."""
    make(PROBE.parents[1])
    guest = {row.id: row for row in run_probe("tcg", "qemu-system-i386", PROBE).rows}
    if not guest:
        pytest.skip("QEMU does not run here")
    for row in report.rows:
        assert expectation(row.expected) == expectation(guest[row.id].expected), row.id
        assert row.title == guest[row.id].title


def expectation(outcome: str) -> str:
    """Take out what differs between a guest's GDT and a process's LDT: TI, and addresses."""
    return outcome.replace("(0x44)", "(0x40)").split(" cr2=")[0]


def test_cycles_are_parseable() -> None:
    """Four figures, and what the counter counts."""
    lines = ask("cycles64").splitlines()
    assert "counter=tsc" in lines[0]
    assert lines[0].endswith(f"|build={build_id(HOST_CYCLES)}")
    figures = {line.split("|")[1]: float(line.split("|")[2]) for line in lines[1:-1]}
    assert set(figures) == {"design-a", "design-b", "syscall", "int80"}
    assert all(figure > 0 for figure in figures.values())
    assert lines[-1] == "END"


def test_no_row_is_lost() -> None:
    """The host probe links every declarative row file of the probe."""
    makefile = (HOSTPROBE / "Makefile").read_text()
    files: list[Path] = sorted((HOSTPROBE.parent / "probe").glob("rows_*.c"))
    assert [file.stem for file in files if file.stem not in makefile] == []
