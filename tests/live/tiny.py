"""The tiny guest (guests/tiny.S): built once, and where its symbols are."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from klosdbg.ports import Target
from klosdbg.targets.qmp import Qmp
from tests.live.patience import until

GUESTS = Path(__file__).parent / "guests"
QEMU = "qemu-system-i386"

needs_qemu = pytest.mark.skipif(
    shutil.which(QEMU) is None, reason=f"{QEMU} is not installed: apt install qemu-system-x86"
)


@functools.cache
def image(name: str = "tiny") -> Path:
    """Build a guest. Linked without a header segment, which would lie below 1 MiB."""
    directory = Path(tempfile.mkdtemp(prefix="tiny-guest-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = directory / f"{name}.elf"
    linker = "-Wl,-Ttext=0x100000,--build-id=none,-N,--no-warn-rwx-segments"
    command = ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", linker, "-o", str(path)]
    subprocess.run([*command, str(GUESTS / f"{name}.S")], check=True)
    return path


@functools.cache
def symbols(name: str = "tiny") -> Mapping[str, int]:
    """Return the linear addresses of a guest's symbols."""
    listing = subprocess.check_output(["nm", str(image(name))], text=True)
    return {row.split()[2]: int(row.split()[0], 16) for row in listing.splitlines()}


def value(target: Target, name: str) -> int:
    """Read one of its variables."""
    return int.from_bytes(target.linear.read(symbols()[name], 4), "little")


def counter(qmp: Qmp) -> int:
    """Read its counter through QMP, which a guest that runs does not notice."""
    return int(qmp.monitor(f"xp /1wx {symbols()['counter']:#x}").split()[-1], 16)


def await_counting(qmp: Qmp) -> None:
    """Wait until it goes round its loop: it has booted, and no breakpoint holds it."""
    before = counter(qmp)
    until(lambda: counter(qmp) not in (before, before + 1))


def set_mode(target: Target, mode: int) -> None:
    """Tell it what to do next: 0 count, 1 halt between counts, 2 triple fault."""
    assert target.linear_writer is not None
    target.linear_writer.write(symbols()["mode"], mode.to_bytes(4, "little"))
