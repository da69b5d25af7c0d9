"""``decode registers`` finds no fault in guests that work, wherever they stand."""

import io
import json
import shutil
from pathlib import Path

import pytest
from klosdbg.session import Session
from klosdbg.targets.qemu import QemuOptions, start_qemu
from tests.live.driver import KLOS, Driver, driving, needs_klos
from tests.live.patience import PATIENCE
from tests.live.test_foreign_guests import QEMU64, SETUP, from_debian
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]
STOPS = 12


def found(driver: Driver, directory: Path) -> dict[str, str]:
    """Paste what QEMU's monitor shows; return the rules that are broken, and how badly."""
    monitor = driver.session.target.monitor
    assert monitor is not None
    pasted = directory / "registers"
    pasted.write_text(monitor.command("info registers"))
    document = json.loads(driver.line(f"decode registers -f {pasted} --json"))
    return {finding["rule"]: finding["severity"] for finding in document["findings"]}


def faults(driver: Driver, directory: Path) -> set[str]:
    """Name the rules that are broken for which no working guest has a reason."""
    return {rule for rule, severity in found(driver, directory).items() if severity != "note"}


@needs_klos
def test_klos(tmp_path: Path) -> None:
    """From its loader's last instructions to its processes."""
    with driving(KLOS) as driver:
        assert faults(driver, tmp_path) == set()
        driver.line("until klos_ready")
        assert found(driver, tmp_path) in ({}, {"tr-not-busy": "note"})
        for _ in range(STOPS):
            driver.line("s 997")
            assert found(driver, tmp_path) in ({}, {"tr-not-busy": "note"})


@pytest.mark.parametrize(
    ("name", "place"), [("task", "loop"), ("v86", "0x20000"), ("tiny", "loop")]
)
def test_small_guests(tmp_path: Path, name: str, place: str) -> None:
    """On the way into protected mode there is no IDT yet, which is worth no more than a note."""
    with driving(image(name)) as driver:
        for _ in range(STOPS):
            assert faults(driver, tmp_path) == set()
            driver.line("s")
        driver.line(f"until {place}")
        assert faults(driver, tmp_path) == set()


@pytest.mark.skipif(
    shutil.which(QEMU64) is None, reason=f"{QEMU64} is not installed: apt install qemu-system-x86"
)
def test_linux_and_its_boot(tmp_path: Path) -> None:
    """A BIOS, and Linux from its real-mode start into long mode."""
    kernel = from_debian("linux-image-cloud-amd64", "vmlinuz-*")
    extra = ("-m", "256", "-kernel", str(kernel), "-append", "console=ttyS0 nokaslr")
    session = Session(timeout=PATIENCE)
    session.attach(start_qemu(QemuOptions(None, headless=True, qemu=QEMU64, extra_args=extra)))
    driver = Driver(session, io.StringIO())
    modes = set()
    try:
        for _ in range(STOPS):
            driver.line("s 5000")
            assert faults(driver, tmp_path) == set()
        driver.line(SETUP)
        for _ in range(STOPS):
            assert faults(driver, tmp_path) == set()
            modes.add(driver.models("regs")["mode"])
            driver.line("events record -n 50")
    finally:
        session.detach()
    assert {"real", "long"} <= modes
