"""Boots KLOS without klosdbg, for tests of the guest itself."""

import subprocess
from pathlib import Path

GUEST = Path(__file__).parents[2] / "guest"
IMAGE = GUEST / "build" / "klos.elf"
DETERMINISTIC = ("-icount", "shift=0,sleep=off")
HASTY = ("-icount", "shift=4,sleep=off")
"""As deterministic, and sixteen times as short for who waits for ticks: 16 ns an instruction."""
_MACHINE = ("-display", "none", "-no-reboot", "-net", "none")
_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=1")


def qemu(append: str, *arguments: str, image: Path = IMAGE) -> list[str]:
    """Make the command line of a KLOS that leaves through the exit port."""
    guest = ("-kernel", str(image), "-append", append)
    return ["qemu-system-i386", *guest, *_MACHINE, *_EXIT, *arguments]


def console(append: str, *arguments: str, image: Path = IMAGE) -> str:
    """Run KLOS until it leaves, and return what it printed on the debug console."""
    line = qemu(append, "-debugcon", "stdio", "-serial", "none", *arguments, image=image)
    ran = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert not ran.stderr, ran.stderr
    return ran.stdout


def rows(text: str) -> dict[str, str]:
    """Read the verdict on each self-test and attack: PASS, FAIL or NOT-ENFORCED."""
    verdicts = ("PASS ", "FAIL ", "NOT-ENFORCED ")
    lines = [line for line in text.splitlines() if line.startswith(verdicts)]
    return {line.split()[1].rstrip(":"): line.split()[0] for line in lines}
