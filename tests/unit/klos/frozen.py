"""A target whose memory the C compiler filled (image.c): KLOS, frozen while an application runs."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from elftools.elf.elffile import ELFFile
from klosdbg.errors import MemoryFault, TargetTimeout
from klosdbg.ports import StopEvent, Target
from klosdbg.wire.symbols import Image, SymbolTable
from klosdbg.x86.cpu import GPR32, Cpu, SegmentRegister, TableRegister

HERE = Path(__file__).parent
INCLUDE = HERE.parents[2] / "guest" / "include"
OS_BASE = 0xC0000000
RAM = 0x200000
PRESENT = 1 << 15


@cache
def elf() -> bytes:
    """Build the image and return the ELF file."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "frozen.elf"
        flags = ["-m32", "-ffreestanding", "-g", "-nostdlib", "-static", "-no-pie", "-fno-pie"]
        linker = f"-Wl,--build-id=none,-T,{HERE / 'image.ld'}"
        command = ["gcc", *flags, f"-I{INCLUDE}", linker, "-o", str(out), str(HERE / "image.c")]
        subprocess.run(command, check=True)
        return out.read_bytes()


@cache
def symbols() -> SymbolTable:
    return SymbolTable((Image(elf(), "frozen.elf"),))


def place(name: str) -> int:
    """Give a symbol's linear address."""
    address = symbols().address(name)
    assert address is not None
    return address


def ram() -> bytearray:
    """Load the image into fresh physical memory."""
    memory = bytearray(RAM)
    with tempfile.TemporaryFile() as stream:
        stream.write(elf())
        for section in ELFFile(stream).iter_sections():
            if section["sh_flags"] & 2 and section["sh_type"] == "SHT_PROGBITS":
                at = section["sh_addr"] - OS_BASE
                memory[at : at + section["sh_size"]] = section.data()
    return memory


class Memory:
    """RAM seen from ``base``; what was read is counted."""

    def __init__(self, contents: bytearray, base: int, space: str) -> None:
        self.contents, self.base, self.space, self.reads = contents, base, space, 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        at = address - self.base
        if at < 0 or at + size > len(self.contents):
            raise MemoryFault(self.space, address, size)
        return bytes(self.contents[at : at + size])

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        return [self._try(address, size) for address, size in requests]

    def _try(self, address: int, size: int) -> bytes | None:
        try:
            return self.read(address, size)
        except MemoryFault:
            return None

    def write(self, address: int, data: bytes) -> None:
        at = address - self.base
        self.contents[at : at + len(data)] = data


class Control:
    """A guest that does ``work`` in each slice of time, and stops by itself where work says so."""

    def __init__(self, work: Callable[[], StopEvent | None]) -> None:
        self.work, self.running = work, False

    def resume(self) -> None:
        self.running = True

    def wait(self, timeout: float | None) -> StopEvent:
        event = self.work()
        if event is None:
            raise TargetTimeout(f"{timeout}")
        self.running = False
        return event

    def interrupt(self) -> StopEvent:
        self.running = False
        return StopEvent("interrupt", 2)


class Registers:
    def __init__(self, cpu: Cpu) -> None:
        self.cpu = cpu

    def read(self) -> Cpu:
        return self.cpu


def cpu() -> Cpu:
    """Give the registers of an application that runs under the frozen KLOS."""
    app = 0xF300 | PRESENT
    flat = {n: SegmentRegister(n, 0x23, 0, 0xBFFFFFFF, app) for n in ("ds", "es", "ss")}
    null = {n: SegmentRegister(n, 0, 0, 0, 0) for n in ("fs", "gs")}
    own = {
        "cs": SegmentRegister("cs", 0x1B, 0, 0xFFFFFFFF, 0xCFF900),
        "ldtr": SegmentRegister("ldtr", 0x30, 0xC0102000, 0xFF, 0x8200),
        "tr": SegmentRegister("tr", 0x28, 0xC0105F80, 0x2068, 0x8B00),
    }
    return Cpu(
        gpr=dict.fromkeys(GPR32, 0) | {"esp": 0xA0001000},
        eip=0x401234,
        eflags=0x202,
        cpl=3,
        segments=flat | null | own,
        gdtr=TableRegister(0xC0101000, 127),
        idtr=TableRegister(0xC0103000, 2047),
        cr0=0x80000011,
        cr2=0,
        cr3=0x8000,
        cr4=0,
    )


def target(
    contents: bytearray | None = None, work: Callable[[], StopEvent | None] = lambda: None
) -> Target:
    """Put a target together: linear memory is physical memory above OS_BASE."""
    contents = ram() if contents is None else contents
    linear = Memory(contents, OS_BASE, "linear")
    physical = Memory(contents, 0, "physical")
    return Target(
        "frozen",
        Registers(cpu()),
        linear,
        physical=physical,
        linear_writer=linear,
        control=Control(work),
    )
