"""Real, unreal and virtual 8086 mode: no table walk, and the IVT instead of the IDT."""

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from klosdbg.errors import CommandError
from klosdbg.session import Session
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import Driver, assert_fits, driving, klosdbg
from tests.live.patience import PATIENCE
from tests.live.tiny import GUESTS, image, needs_qemu

DB, UD, GP = 1, 6, 13

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Driver]:
    """The boot sector's guest, stopped at ``real``."""
    elf, sector = tmp_path / "boot.elf", tmp_path / "boot.img"
    build = ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x7c00,--build-id=none"]
    subprocess.run([*build, "-Wl,-N", "-o", str(elf), str(GUESTS / "boot.S")], check=True)
    text = ["objcopy", "-O", "binary", "-j", ".text", str(elf), str(sector)]
    subprocess.run(text, check=True)
    session = Session(timeout=PATIENCE, symbols=SymbolTable((Image(elf.read_bytes(), "boot"),)))
    drive = ("-drive", f"file={sector},format=raw,if=floppy")
    session.attach(start_qemu(QemuOptions(headless=True, extra_args=drive)))
    driver = Driver(session, io.StringIO())
    driver.line("until real")
    yield driver
    session.detach()


def test_addresses(boot: Driver) -> None:
    """A selector is a paragraph number; breakpoints are linear; code has 16 bits."""
    stop = boot.models("dis")
    assert (stop["bits"], stop["instructions"][0]["address"]) == (16, 0x7C05)
    for line in ("mem cs:0 4", "mem 0x7c0:0 4", "mem 0x7c00 4", "mem 0x7b0:0x100 4"):
        assert boot.models(line)["bytes"] == boot.models("mem _start 4")["bytes"]
    assert boot.models("s 3")["symbol"] == "loaded"
    assert boot.models("regs")["segments"]["ds"]["base"] == "0x12340"
    boot.line("b cs:0x7c05-0x7c00")
    assert boot.models("info b")["breakpoints"][0]["symbol"] == "real"


def test_selectors(boot: Driver) -> None:
    """``sel`` and ``sregs`` follow no table."""
    selector = boot.models("sel cs")
    assert (selector["base"], selector["descriptor"], selector["held_by"]) == (0x7C00, None, ["cs"])
    assert "no table is walked" in boot.line("sel 0x10")
    rows = {row["name"]: row for row in boot.models("sregs")["registers"]}
    assert (rows["cs"]["differences"], rows["cs"]["memory"]) == ([], None)
    assert "real mode: base is selector x 16" in boot.line("sregs")
    assert_fits(boot.line("sregs"))


def test_events_before_and_after_the_bios_has_set_up_its_vectors(boot: Driver) -> None:
    with pytest.raises(CommandError, match=r"vector 97 leads nowhere: see 'ivt'"):
        boot.line("b event 0x61")
    with pytest.raises(CommandError, match=r"none of these vectors leads anywhere: see 'ivt'"):
        boot.line("events record -n 1 -v 0x61")
    with driving(None) as early:
        with pytest.raises(CommandError, match=r"let it run first \('until 0x7c00'\)"):
            early.line("events record -n 1")
        with pytest.raises(CommandError, match="vector 8 leads nowhere"):
            early.line("b event 8")


def test_vectors(boot: Driver) -> None:
    """The IVT stands at IDTR's base, which the guest may move."""
    with pytest.raises(CommandError, match="use 'ivt'"):
        boot.line("idt")
    ivt = boot.models("ivt")
    assert (ivt["base"], sum(entry["count"] for entry in ivt["entries"])) == (0, 256)
    boot.line("until moved")
    moved = boot.models("ivt")
    assert moved["base"] == 0x600
    handler = next(entry for entry in moved["entries"] if entry["index"] == 3)
    assert (handler["symbol"], handler["segment"]) == ("handler", 0x7C0)
    assert "<handler>" in boot.line("ivt")


def test_what_real_mode_lacks(boot: Driver) -> None:
    """No TSS, no LDT, and no port that is refused."""
    for line in ("tss", "iomap", "ldt"):
        with pytest.raises(CommandError):
            boot.line(line)
    assert boot.models("port 0x3f8")["rule"] == "real-mode"


def test_unreal_mode(boot: Driver) -> None:
    """A segment that kept its limit from protected mode shows."""
    boot.line("until unreal")
    assert boot.models("regs")["mode"] == "unreal"
    rows = {row["name"]: row for row in boot.models("sregs")["registers"]}
    assert (rows["es"]["limit"], rows["es"]["differences"]) == (0xFFFFFFFF, ["base"])
    assert "differs" in boot.line("sregs")


def test_what_the_processor_refuses_itself_is_not_reported(boot: Driver) -> None:
    """Here ICEBP, by way of the IVT: #DB on hardware, #UD under some QEMUs, and not the same."""
    boot.line("until moved")
    first = boot.models("ivt")["base"]
    boot.line(f"set {first + 4 * DB:#x} 0x07c00100")
    boot.line(f"set {first + 4 * UD:#x} 0x07c00180")
    boot.line("set moved 0xf1")
    refused = boot.models("silicon -n 1")["refused"]
    landed = boot.models("regs")["eip"]
    assert (landed, [r["exception"] for r in refused]) in [(0x100, []), (0x180, ["#DB"])]


def test_virtual_8086_mode_is_ring_3() -> None:
    """HLT is refused by way of the IDT, and klosdbg does not say that it passed."""
    with driving(image("v86")) as driver:
        driver.line("until 0x20000")
        gate = driver.models("idt")["base"] + 8 * GP
        driver.line(f"set {gate:#x} 0x00081234")
        driver.line(f"set {gate + 4:#x} 0x00108e00")
        driver.line("set 0x20000 0xf4")
        assert driver.models("silicon -n 1")["refused"] == []
        stop = driver.models("regs")
        assert (stop["cpl"], stop["eip"]) == (0, 0x101234)


def test_virtual_8086_mode() -> None:
    """The IDT is the protected one, the IVT is at linear 0, and the bitmap decides on ports."""
    with driving(image("v86")) as driver:
        stop = driver.models("until 0x20000")
        assert (stop["linear"], stop["cs"], stop["cpl"]) == (0x20000, 0x2000, 3)
        assert driver.models("regs")["mode"] == "v86"
        assert driver.models("dis")["bits"] == 16
        assert driver.models("mem ds:0 4")["address"] == 0x30000
        assert driver.models("sel ds")["base"] == 0x30000
        assert "v86 mode" in driver.line("sregs")
        assert driver.models("idt")["limit"] == 0x7FF
        assert sum(entry["count"] for entry in driver.models("ivt")["entries"]) == 256
        assert driver.models("port 0x80")["rule"] == "bitmap"
        assert driver.models("port 0x80/2")["rule"] == "bit-set"
        assert driver.models("port 0x3f8")["rule"] == "past-limit"
        assert driver.models("tss")["ports"] == [[0x80, 0x80]]
        assert driver.models("tss")["redirected"] == [[0, 255]]


def test_the_bios_from_the_command_line() -> None:
    """A machine without an image begins at its reset vector, where CS is not selector x 16."""
    result = klosdbg(
        "run", "--image", "none", "--headless", "-c", "sregs", "-c", "dis 0xfffffff0 1"
    )
    assert (result.code, result.err) == (0, "")
    assert "cs    f000  ffff0000" in result.out
    assert "differs" in result.out
    assert "ljmp 0xf000:0xe05b" in result.out
