"""A core of QEMU's ``dump-guest-memory`` read without QEMU, beside the guest that it came from."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from klosdbg.errors import DataError
from klosdbg.targets.dump import is_elf, open_dump
from tests.live.driver import KLOS, Driver, driving, klosdbg, needs_klos
from tests.live.tiny import image, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu, pytest.mark.xdist_group("dump")]

READING = (
    "sregs", "cr cr0", "cr cr3", "walk klos_ready", "gdt", "ldt", "idt", "tss", "iomap", "klos",
    "ps", "threads", "services",
)  # fmt: skip
MORE = ("sel dsos", "dis klos_ready 20", "mem ss:esp", "ivt", "frames")


def dump(driver: Driver, path: Path) -> None:
    """Let QEMU write a core."""
    monitor = driver.session.target.monitor
    assert monitor is not None
    assert not monitor.command(f"dump-guest-memory {path}").strip()


@pytest.fixture(scope="module")
def klos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Path]]:
    """KLOS at ``klos_ready``, and its core."""
    path = tmp_path_factory.mktemp("dump") / "klos.core"
    with driving(KLOS, "-m", "32", append="seed=7") as driver:
        driver.line("until klos_ready")
        dump(driver, path)
        yield driver, path
    path.unlink()


@needs_klos
def test_a_core_shows_what_the_guest_showed(klos: tuple[Driver, Path]) -> None:
    """Tables, KLOS's own structures, code and stack are the same, byte for byte."""
    driver, path = klos
    lines = (*READING, *MORE)
    words = [word for line in lines for word in ("-c", line)]
    opened = klosdbg("open", str(path), "--symbols", str(KLOS), *words)
    assert (opened.code, opened.err) == (0, "")
    assert opened.out == "".join(driver.line(line) for line in lines)


@needs_klos
def test_registers(klos: tuple[Driver, Path]) -> None:
    """The note holds every register but EFER, DR and flags of the processor's state."""
    driver, path = klos
    live = driver.session.target.registers.read()
    unknown = klosdbg("open", str(path), "-c", "cr dr7")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err == "klosdbg: klos.core does not tell what is in DR7\n"
    dumped = open_dump(path).registers.read()
    for name in ("gpr", "eip", "eflags", "cpl", "gdtr", "idtr", "cr0", "cr2", "cr3", "cr4"):
        assert getattr(dumped, name) == getattr(live, name), name
    for name, segment in live.segments.items():
        assert dumped.segments[name] == replace(segment, flags=segment.flags & 0x00F0_FF00)


@needs_klos
def test_klos_is_found_without_symbols(klos: tuple[Driver, Path]) -> None:
    """A core has all of physical memory, so the magic is found in it."""
    found = klosdbg("open", str(klos[1]), "-c", "klos", "-c", "ps")
    assert found.code == 0, found.err
    assert "found by its magic" in found.out


@needs_klos
@pytest.mark.parametrize("line", ["c", "set eax 1", "mailbox ping 1", "capture start x.klos"])
def test_it_is_read_only(klos: tuple[Driver, Path], line: str) -> None:
    """A core cannot run or be written: one line."""
    refused = klosdbg("open", str(klos[1]), "--symbols", str(KLOS), "-c", line)
    assert refused.code == 1
    assert refused.err.count("\n") == 1


@needs_klos
def test_a_core_that_is_cut_short(klos: tuple[Driver, Path], tmp_path: Path) -> None:
    """What is there is read; what is not is not mapped."""
    whole = klos[1].read_bytes()
    for size in (0, 3, 52, 64, 200, 700, 4096, len(whole) // 2):
        path = tmp_path / "cut.core"
        path.write_bytes(whole[:size])
        result = klosdbg("open", str(path), "-c", "regs", "-c", "mem phys:0x1f00000")
        assert result.code in (1, 2), size
        assert result.err.count("\n") == 1


@needs_klos
def test_bytes_of_the_note_may_be_anything(klos: tuple[Driver, Path], tmp_path: Path) -> None:
    """Registers that make no sense are shown, not believed."""
    raw = bytearray(klos[1].read_bytes()[: 1 << 20])
    at = raw.index(b"QEMU\0") + 8
    raw[at + 8 : at + 440] = b"\xff" * 432
    path = tmp_path / "odd.core"
    path.write_bytes(raw)
    result = klosdbg("open", str(path), "-c", "regs", "-c", "sregs")
    assert result.code == 0, result.err
    struct.pack_into("<I", raw, at, 9)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="version 9"):
        open_dump(path)


def test_without_paging(tmp_path: Path) -> None:
    """A guest without paging: linear is physical."""
    path = tmp_path / "tiny.core"
    with driving(image(), "-m", "16") as driver:
        driver.line("until loop")
        dump(driver, path)
        live = driver.session.target.linear.read(symbols()["loop"], 16)
    assert open_dump(path).linear.read(symbols()["loop"], 16) == live


def test_what_is_no_core(tmp_path: Path) -> None:
    """An image is an ELF file and no core."""
    assert is_elf(image())
    assert not is_elf(tmp_path / "nothing")
    result = klosdbg("open", str(image()), "-c", "regs")
    assert result.code == 2
    assert "an ELF file, but no core of an x86 machine" in result.err
