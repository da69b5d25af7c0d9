"""Stubs that are not QEMU's: a program under gdbserver, and a core that klosdbg serves."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from klosdbg.targets.dump import open_dump
from klosdbg.targets.live import connect
from tests.live.driver import driving, klosdbg
from tests.live.serving import serving
from tests.live.tiny import image, needs_qemu, symbols

GDBSERVER = "gdbserver"
PROGRAM = """
    .globl _start, called
_start:
    xor %eax, %eax
again:
    call called
    jmp again
called:
    incl counter
    ret
    .data
counter:
    .long 0
"""


@pytest.fixture(scope="module", params=["-m32", "-m64"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program"
    gcc = ["gcc", request.param, "-nostdlib", "-static", "-no-pie", "-x", "assembler", "-", "-o"]
    subprocess.run([*gcc, str(path)], input=PROGRAM, text=True, check=True)
    return path


@contextmanager
def gdbserver(program: Path) -> Iterator[str]:
    command = [GDBSERVER, "--once", "127.0.0.1:0", str(program)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(line for line in process.stderr if line.startswith("Listening")).split()[-1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.skipif(
    shutil.which(GDBSERVER) is None, reason=f"no {GDBSERVER}: apt install gdbserver"
)
def test_a_program_under_gdbserver(program: Path) -> None:
    lines = ("b called", "c", "s 2", "c", "regs", "dis", "mem counter 4", "reset")
    words = [word for line in lines for word in ("-c", line)]
    with gdbserver(program) as where:
        shown = klosdbg("attach", where, "--symbols", str(program), *words)
    assert "Traceback" not in shown.err
    assert shown.err == f"klosdbg: {where} cannot reset: its stub has no QEMU monitor\n"
    assert shown.out.count("breakpoint 1: ring 3") == 2
    assert "<again+0x5>" in shown.out, "two steps: the increment, and the return"
    assert "hidden part not told: taken as flat" in shown.out
    assert "01 00 00 00" in shown.out


@pytest.mark.qemu
@needs_qemu
def test_a_core_that_klosdbg_serves_shows_every_register(tmp_path: Path) -> None:
    """It has no monitor, but describes hidden parts as well."""
    core = tmp_path / "tiny.core"
    with driving(image()) as driver:
        driver.line(f"until {symbols()['loop']:#x}")
        monitor = driver.session.target.monitor
        assert monitor is not None
        monitor.command(f"dump-guest-memory {core}")
    with serving("serve", str(core)) as path, closing(connect(f"unix:{path}")) as target:
        assert target.monitor is None
        cpu = target.registers.read()
    dumped = open_dump(core).registers.read()
    assert not cpu.untold
    for name in ("gpr", "eip", "eflags", "cpl", "gdtr", "idtr", "cr0", "cr3", "cr4", "linear_pc"):
        assert getattr(cpu, name) == getattr(dumped, name), name
    for name, segment in dumped.segments.items():
        assert cpu.segments[name].descriptor == segment.descriptor, name
