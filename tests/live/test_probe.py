"""The probe guest under TCG: what QEMU enforces, and what it is known not to."""

import re
import shutil
from pathlib import Path

import pytest
from klosdbg import images
from klosdbg.factories import LocalFactories
from klosdbg.images import PROBE
from klosdbg.models import Diagnosis
from klosdbg.targets.probe import run_probe
from klosdbg.views.base import Style, text
from klosdbg.views.doctor import _TOPIC_OF as TOPIC_OF
from klosdbg.x86.enforcement import ProbeResult
from tests.build import make
from tests.live.patience import PATIENCE

QEMU = "qemu-system-i386"

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not shutil.which(QEMU), reason="apt install qemu-system-x86"),
]

# What no QEMU's TCG stops. Limits, types and null selectors are checked when a segment is loaded,
# never when it is used.
NEVER_ENFORCED = {
    "read-past-limit-byte",
    "write-past-limit",
    "read-straddling-limit",
    "read-wrapping-4g",
    "read-past-limit-page",
    "moffs-past-limit",
    "rep-movsb-crossing-limit",
    "fnstenv-crossing-limit",
    "ss-read-past-limit",
    "expand-down-below-limit",
    "write-read-only",
    "read-null-es",
    "write-null-es",
    "read-execute-only-cs",
    "write-execute-only-cs",
    "write-readable-cs",
    "push-past-limit",
    "push-esp-zero-wrap",
    "near-jmp-past-limit",
    "indirect-jmp-past-limit",
    "ret-past-limit",
    "call-past-limit",
    "fetch-over-limit",
    "lret-past-limit",
    "iret-past-limit",
    "iret-ring0-past-limit",
    "alignment-check",
    "limit-before-page-fault",
}
# What one QEMU does as hardware does and another does not, and what happens under the latter.
ENFORCED_BY_SOME = {"icebp": "#UD", "invd": "eax=0", "wbinvd": "eax=0"}
ROWS = 174
README = Path(__file__).parents[2] / "README.md"
# Exceptions that are reported after the instruction, not at it.
TRAPS = {"int3", "into", "dr0-data", "icebp"}


@pytest.fixture(scope="module")
def tcg(probe_image: Path) -> ProbeResult:
    return run_probe("tcg", QEMU, probe_image, PATIENCE)


@pytest.fixture(scope="module")
def probe_image() -> Path:
    make(PROBE.parents[1])
    return PROBE


def test_every_row_ends(tcg: ProbeResult) -> None:
    """All rows are there, once, tested, under stable ids."""
    assert (tcg.status, tcg.reason) == ("ok", "")
    ids = [row.id for row in tcg.rows]
    assert len(ids) == len(set(ids)) == tcg.report.announced == ROWS
    assert all(row.tested for row in tcg.rows)


def test_known_mismatches_and_no_others(tcg: ProbeResult) -> None:
    """TCG differs from hardware in the known rows alone."""
    found = {row.id: row.got for row in tcg.rows if not row.enforced}
    assert found.keys() - ENFORCED_BY_SOME == NEVER_ENFORCED
    others = {row: got for row, got in found.items() if row in ENFORCED_BY_SOME}
    assert others.items() <= ENFORCED_BY_SOME.items()


def test_the_readme_shows_what_doctor_says(tcg: ProbeResult) -> None:
    """Each line of its excerpt; but for the count, which it says differs from QEMU to QEMU."""
    shown = text(Diagnosis((), (), LocalFactories().own_images(), (tcg,)), Style())
    page = README.read_text()
    (excerpt,) = re.findall(r"\$ klosdbg doctor\n    \.\.\.\n((?:    .*\n)+?)    \.\.\.\n", page)
    first, *others = [line.removeprefix("    ") for line in excerpt.splitlines()]
    said = re.search(
        r"^Accelerator tcg: (\d+) (of \d+ situations end as on hardware)$", shown, re.M
    )
    assert said is not None
    assert first.endswith(said[2])
    assert said[1] in page
    assert others
    assert not set(others) - set(shown.splitlines())


def test_what_lands_is_harmless(tcg: ProbeResult) -> None:
    """A row reads fresh values although TCG let the one before it write."""
    rows = {row.id: row for row in tcg.report.rows}
    assert rows["read-read-only"].got == "eax=0x10"
    assert rows["read-readable-cs"].got == "eax=0x20"


def test_faults_are_where_the_symbols_say(tcg: ProbeResult, probe_image: Path) -> None:
    """``row_<id>`` is the tested instruction, so a debugger can stop there."""
    lines = probe_image.with_suffix(".sym").read_text().splitlines()
    symbols = {line.split()[2]: int(line.split()[0], 16) for line in lines}
    for row in tcg.rows:
        at = symbols[f"row_{row.id.replace('-', '_')}"]
        if row.got.startswith("#") and row.id not in TRAPS:
            assert row.linear == at, row.id


def test_doctor_knows_the_rows(tcg: ProbeResult) -> None:
    """The topics that doctor speaks of name rows that exist."""
    assert set(TOPIC_OF) <= {row.id for row in tcg.rows}


def test_a_processor_without_umip_skips_rows(probe_image: Path) -> None:
    """Rows that a processor cannot have are skipped with a reason, and not counted as failed."""
    result = run_probe("tcg", QEMU, probe_image, PATIENCE, models=("pentium3",))
    assert {row.id: row.got for row in result.rows if not row.tested} == {
        f"umip-{name}": "no UMIP" for name in ("sgdt", "sidt", "sldt", "str", "smsw")
    }


@pytest.mark.parametrize(
    ("accel", "qemu", "timeout", "status", "reason"),
    [
        ("nosuch", QEMU, PATIENCE, "cannot-start", "invalid accelerator nosuch"),
        (
            "tcg",
            "qemu-system-nosuch",
            PATIENCE,
            "cannot-start",
            "is not installed: apt install qemu",
        ),
        ("tcg", "true", PATIENCE, "cannot-start", "said nothing"),
        ("tcg", QEMU, 0.0, "hangs", "no end in 0 s"),
    ],
)
def test_failures_are_one_line(
    probe_image: Path, accel: str, qemu: str, timeout: float, status: str, reason: str
) -> None:
    """An accelerator that does not work is a result that says why."""
    result = run_probe(accel, qemu, probe_image, timeout)
    assert result.status == status
    assert reason in result.reason
    assert "\n" not in result.reason


def test_an_image_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the command that builds it."""
    monkeypatch.setattr(images, "PROBE", tmp_path / "probe.elf")
    result = LocalFactories().probe("tcg", QEMU)
    assert isinstance(result, ProbeResult)
    assert (result.status, result.reason) == (
        "cannot-start",
        "probe.elf is not built yet: run 'make guest'",
    )


def test_kvm_is_decided_by_booting(probe_image: Path) -> None:
    """KVM passes the probe or is refused with a reason; it never hangs the doctor."""
    result = run_probe("kvm", QEMU, probe_image)
    assert result.status == "ok" or result.reason
