"""IA-32e mode: tables of 64-bit forms, addresses of 64 bits, and compatibility mode."""

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from klosdbg.errors import CommandError
from klosdbg.session import Session
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.driver import Driver, assert_fits, klosdbg
from tests.live.patience import PATIENCE
from tests.live.tiny import GUESTS

QEMU64 = "qemu-system-x86_64"
HIGH = 0xFFFF_8000_0000_0000

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(
        shutil.which(QEMU64) is None,
        reason=f"{QEMU64} is not installed: apt install qemu-system-x86",
    ),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The guest as multiboot takes it, and its symbols as a 64-bit ELF."""
    directory = tmp_path_factory.mktemp("long")
    boot, symbols = directory / "long.elf", directory / "long64.elf"
    linker = "-Wl,-Ttext=0x100000,--build-id=none,-N,--no-warn-rwx-segments"
    build = ["gcc", "-m64", "-nostdlib", "-static", "-no-pie", linker, "-o", str(symbols)]
    subprocess.run([*build, str(GUESTS / "long.S")], check=True)
    subprocess.run(["objcopy", "-O", "elf32-i386", str(symbols), str(boot)], check=True)
    return boot, symbols


@pytest.fixture(scope="module")
def guest(images: tuple[Path, Path]) -> Iterator[Driver]:
    """The guest at its high addresses; its symbols are known there and where it is linked."""
    boot, symbols = images
    linked = Image(boot.read_bytes(), "long")
    mapped = Image(symbols.read_bytes(), "high", HIGH)
    session = Session(timeout=PATIENCE, symbols=SymbolTable((linked, mapped)))
    session.attach(start_qemu(QemuOptions(boot, headless=True, qemu=QEMU64)))
    driver = Driver(session, io.StringIO())
    driver.line(f"until {HIGH + 0x100000:#x}+high-image")
    yield driver
    session.detach()


def monitor(driver: Driver, command: str) -> str:
    assert driver.session.target.monitor is not None
    return driver.session.target.monitor.command(command)


def test_a_walk_ends_where_qemu_says(guest: Driver) -> None:
    """Where a page is mapped, and where none is."""
    for address in (HIGH + 0x100000, 0x100000, 0x7C00, 0x5000_0000_0000, 1 << 62):
        walked = guest.models(f"walk {address:#x}")
        said = monitor(guest, f"gva2gpa {address:#x}").strip()
        physical = walked["physical"]
        assert said == (f"gpa: {physical}" if physical else "Unmapped"), hex(address)
        assert (walked["mode"], walked["why"] is None) == ("4-level", bool(physical))
        assert_fits(guest.line(f"walk {address:#x}"))


def test_registers_are_those_that_qemu_shows(guest: Driver) -> None:
    """All sixteen, as strings, and in 80 columns."""
    document = guest.models("regs")
    assert (document["mode"], document["paging"], document["cpl"]) == ("long", "4-level", 0)
    words = monitor(guest, "info registers").replace("=", " ").split()
    for name in ("rax", "rsp", "r15"):
        shown = next(words[i + 1] for i, word in enumerate(words) if word.lower() == name)
        assert document[name] == hex(int(shown, 16))
    assert document["r15"] == "0x123456789abcdef0"
    assert document["eip"] == document["linear"] == hex(HIGH + 0x100000 + high_offset(guest))
    assert_fits(guest.line("regs"))
    assert_fits(guest.line("sregs"))
    assert "tss64" in guest.line("regs")


def high_offset(driver: Driver) -> int:
    return driver.address("high") - driver.address("image")


def test_every_address_beyond_53_bits_is_a_string(guest: Driver) -> None:
    """No JSON reader may round one."""
    for line in ("regs", "dis", "mem rip 4", "sel 0x40", "sregs", "cr", "tss", "gdt", "idt"):
        assert list(too_big(guest.models(line))) == [], line
    assert guest.models("mem rip 4")["address"] == guest.models("regs")["linear"]


def too_big(value: Any) -> Iterator[int]:
    if isinstance(value, int) and abs(value) >= 1 << 53:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from too_big(part)
    elif isinstance(value, list):
        for part in value:
            yield from too_big(part)


def test_tables_have_their_64_bit_forms(guest: Driver) -> None:
    """System descriptors and gates take 16 bytes, which are two slots of a GDT."""
    gdt = {entry["index"]: entry for entry in guest.models("gdt")["entries"]}
    assert sorted(gdt) == [0, 1, 2, 3, 4, 6, 8]
    assert (gdt[3]["kind"], gdt[3]["l"], gdt[1]["l"]) == ("code", True, False)
    assert (gdt[4]["kind"], gdt[4]["bits"], gdt[4]["busy"]) == ("tss64", 64, True)
    assert (gdt[6]["kind"], gdt[6]["limit"]) == ("ldt", 15)
    assert gdt[8]["kind"] == "call-gate"
    assert gdt[8]["offset"] == hex(HIGH + guest.address("handler"))
    assert guest.models("ldt")["entries"][1]["dpl"] == 3
    (breakpoint_gate,) = guest.models("idt 3")["entries"]
    assert (breakpoint_gate["kind"], breakpoint_gate["ist"]) == ("trap-gate", 1)
    for line in ("gdt", "ldt", "idt", "tss", "sel 0x40", "sel tr"):
        assert_fits(guest.line(line))


def test_tss(guest: Driver) -> None:
    """RSP0 and the interrupt stack table; no bitmap within the limit."""
    tss = guest.models("tss")
    assert (tss["bits"], tss["limit"], tss["ports"]) == (64, 0x67, [])
    assert tss["rsp0"] == hex(guest.address("stack_top"))
    assert tss["ist1"] == hex(HIGH + guest.address("stack_top"))
    assert "no I/O bitmap" in guest.line("iomap")
    assert guest.models("port 0x80")["rule"] == "iopl"


def test_memory_is_reached_through_both_mappings(guest: Driver) -> None:
    """Stopped through the stub, running through QMP; segments have no base."""
    low = guest.models("mem image 16")["bytes"]
    assert guest.models(f"mem {HIGH + 0x100000:#x} 16")["bytes"] == low
    assert guest.models(f"mem ds:{HIGH + 0x100000:#x} 16")["bytes"] == low
    assert guest.models("mem phys:0x100000 16")["bytes"] == low
    with pytest.raises(CommandError, match="0xffffffffffffffff"):
        guest.line("mem 0x10000000000000000")


def test_steps_and_calls(guest: Driver) -> None:
    """``s`` goes into a call, ``finish`` out of it, and ``n`` over it."""
    assert_fits(guest.line("dis"))
    start = guest.models("regs")["linear"]
    assert guest.models("s")["symbol"] == "handler"
    assert guest.models("finish")["symbol"] == "high+0x5"
    guest.line(f"set rip {start}")
    assert guest.models("n")["symbol"] == "high+0x5"
    assert guest.line("set r15 0xffffffffffffffff").endswith("-> 0xffffffffffffffff\n")
    number = guest.models(f"b {start}")["number"]
    assert guest.models("info b")["breakpoints"][0]["address"] == start
    guest.line(f"del {number}")


def test_compatibility_mode(images: tuple[Path, Path]) -> None:
    """Code of 32 bits under tables of 64-bit forms; a running guest is read as well."""
    commands = ("until compat", "regs", "dis compat 1", "gdt", "c &", "regs", "interrupt")
    words = [word for command in commands for word in ("-c", command)]
    result = klosdbg(
        "run", "--headless", "--json", "--qemu", QEMU64, "--image", str(images[0]), *words
    )
    assert (result.code, result.err) == (0, "")
    stop, regs, code, gdt, _, running, _ = map(json.loads, result.out.splitlines())
    assert (stop["cs"], stop["symbol"]) == (8, "compat")
    assert (regs["mode"], running["mode"]) == ("compatibility", "compatibility")
    assert (code["bits"], code["instructions"][0]["mnemonic"]) == (32, "nop")
    assert gdt["entries"][4]["kind"] == "tss64"


def test_an_address_is_reached_that_only_long_mode_has(images: tuple[Path, Path]) -> None:
    """A breakpoint may be set before; memory there cannot be read before."""
    words = ("run", "--headless", "--qemu", QEMU64, "--image", str(images[0]))
    result = klosdbg(*words, "-c", f"mem {HIGH:#x}")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "between 0 and 0xffffffff" in result.err
