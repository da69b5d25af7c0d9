"""The probe's report, and what doctor says about it."""

from klosdbg.models import Diagnosis, OwnImages, Tool
from klosdbg.views.base import Style, data, text
from klosdbg.x86.enforcement import ProbeReport, ProbeResult, decode_probe_report

REPORT = """\
PROBE|1|machine=guest|rows=4|vendor=AuthenticAMD|hypervisor=TCGTCGTCGTCG|signature=0x663
ROW|read-at-limit|data|3|eax=0xff|eax=0xff|0x104196|same|read at limit
ROW|read-past-limit-byte|data|3|#GP(0)|eax=0|0x1041aa|differs|read past limit (byte gran)
ROW|in-denied|io|3|#GP(0)|#GP(0)|0x104701|same|in bitmap denied
ROW|umip-sgdt|privileged|3|#GP(0)|no UMIP|0|skipped|sgdt UMIP on
END|same=2|differs=1|skipped=1
"""


def diagnosis(*probes: ProbeResult, **changes: object) -> Diagnosis:
    tools = (
        Tool("qemu-system-i386", "qemu-system-x86", "boots", True, "7.2.22"),
        Tool("lldb", "lldb", "tests", False, None),
        Tool("grub-mkrescue", "grub-common mtools", "tests", False, None),
        Tool("odd", "odd", "tests", False, ""),
    )
    images = OwnImages(True, (("/klosdbg/guest/build/klos.elf", "0" * 39),))
    return Diagnosis(tools, (("capstone", "5.0.9"),), images, probes, **changes)  # type: ignore[arg-type]


def test_report() -> None:
    """Header, rows and end."""
    report = decode_probe_report(REPORT)
    assert (report.announced, report.hypervisor, report.complete) == (4, "TCGTCGTCGTCG", True)
    rows = {row.id: row for row in report.rows}
    row = rows["read-past-limit-byte"]
    assert (row.row_class, row.ring, row.expected, row.got) == ("data", 3, "#GP(0)", "eax=0")
    assert (row.linear, row.enforced, row.tested) == (0x1041AA, False, True)
    assert not rows["umip-sgdt"].tested


def test_report_that_breaks_off() -> None:
    """Any prefix decodes; only the whole is complete."""
    for length in range(len(REPORT) - len("END|same=2|differs=1|skipped=1\n")):
        assert not decode_probe_report(REPORT[:length]).complete
    assert decode_probe_report("SeaBIOS\n\0\xff|ROW\n") == ProbeReport()
    assert decode_probe_report("PANIC|vector=0xd|error=0|eip=0x1\n").panic is not None


def test_doctor_speaks_of_topics() -> None:
    """A row that nothing should stop does not make a missing check partly there."""
    probe = ProbeResult("tcg", "ok", "", "max", decode_probe_report(REPORT))
    shown = text(diagnosis(probe), Style())
    assert "Accelerator tcg: 2 of 3 situations end as on hardware\n" in shown
    assert "1 could not be tested: no UMIP\n" in shown
    assert "  segment limits on memory access: NOT enforced by tcg (hardware: #GP(0))\n" in shown
    assert "  as on hardware: I/O permission bitmap" in shown
    assert "sudo apt install grub-common lldb mtools" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_doctor_lists_rows() -> None:
    """With ``--rows`` each row is there, and what happened where it should not."""
    probe = ProbeResult("tcg", "ok", "", "max", decode_probe_report(REPORT))
    lines = text(diagnosis(probe, list_rows=True), Style()).splitlines()
    assert any(line.split() == ["read-past-limit-byte", "#GP(0)", "eax=0"] for line in lines)
    assert any(line.split() == ["in-denied", "#GP(0)"] for line in lines)


def test_accelerator_that_does_not_work() -> None:
    """Its reason is shown; without KVM klosdbg still works, without TCG it does not."""
    kvm = ProbeResult("kvm", "emulation-failure", "KVM cannot emulate, in the first row")
    assert "Accelerator kvm: does not work here (emulation-failure)" in text(
        diagnosis(kvm), Style()
    )
    assert not diagnosis(kvm).found_fault
    assert diagnosis(ProbeResult("tcg", "cannot-start", "not built")).found_fault


def test_json() -> None:
    """The document of design: rows under their ids, None where a row could not be tested."""
    probe = ProbeResult("tcg", "ok", "", "max", decode_probe_report(REPORT))
    document = data(diagnosis(probe), Style())
    assert document["schema"] == "klosdbg/doctor/1"
    assert document["install"] == "sudo apt install grub-common lldb mtools"
    (accelerator,) = document["accelerators"]  # type: ignore[misc]
    enforced = {row["id"]: row["enforced"] for row in accelerator["rows"]}
    assert enforced == {
        "read-at-limit": True,
        "read-past-limit-byte": False,
        "in-denied": True,
        "umip-sgdt": None,
    }
