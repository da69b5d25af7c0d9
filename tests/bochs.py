"""Run a multiboot guest under Bochs, headless, to the end or to a breakpoint.

Bochs is the second opinion on everything that QEMU's TCG does not enforce. Debian's has the
internal debugger, fed from a script, and no display that works without a window or a port: the
``rfb`` one listens on every address, so Bochs runs in a network namespace of its own, where nobody
can reach it.

``tests/bochs_text.py`` turns what it prints into plain dictionaries.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROGRAMS = {
    "bochs": "bochs",
    "grub-mkrescue": "grub-common",
    "xorriso": "xorriso",
    "mformat": "mtools",
    "unshare": "util-linux",
}
_FILES = {
    "/usr/share/bochs/BIOS-bochs-latest": "bochsbios",
    "/usr/share/bochs/VGABIOS-lgpl-latest": "vgabios",
    "/usr/lib/grub/i386-pc": "grub-pc-bin",
}

_GRUB = """\
set timeout=0
set default=0
terminal_output console
menuentry guest {{
	multiboot /boot/guest.elf {command_line}
	boot
}}
"""

# All of GRUB's modules, fonts and languages would nearly double the time of a boot.
_NO_MORE_THAN_NEEDED = (
    "--install-modules=normal multiboot",
    "--locales=",
    "--fonts=",
    "--themes=",
)

_CONFIGURATION = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1
megs: {megabytes}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_icelake_u, count=1, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{iso}", status=inserted
boot: cdrom
log: "{log}"
port_e9_hack: enabled=1
panic: action=fatal
error: action=report
info: action=ignore
magic_break: enabled=0
"""

# Bochs prints no prompt while it reads a script; ``calc`` of a value that nothing else prints
# stands for one.
_MARKER = 0x6B6C6F7300000000
_MARKED = re.compile(rf"^0x{_MARKER >> 32:x}([0-9a-f]{{8}}) \d+\n", re.MULTILINE)
# What the debugger says unasked: where it stands, and what it could not look up on the way.
_NOISE = re.compile(
    r"^(\(0\) Breakpoint |\(0\)\.?\s?\[|Next at t=|bx_dbg_read_pmode_descriptor:|\[bochs\]:\s*$)"
)
_PR_SET_PDEATHSIG = 1


class BochsError(Exception):
    """Say why a run under Bochs did not get where it should."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What Bochs answered at a breakpoint: each command's text, each dump's bytes."""

    console: str
    outputs: dict[str, str]
    memory: tuple[bytes, ...]


def available() -> str | None:
    """Say why Bochs cannot run here, or None."""
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    missing |= {package for path, package in _FILES.items() if not Path(path).exists()}
    if missing:
        return f"Bochs needs packages: apt install {' '.join(sorted(missing))}"
    if _unshare() is None:
        return "Bochs needs a network namespace, and unshare is not permitted here"
    return None


def build_iso(elf: Path, directory: Path, command_line: str = "") -> Path:
    """Make a CD that boots a multiboot ELF from GRUB without waiting."""
    tree = directory / "iso"
    (tree / "boot" / "grub").mkdir(parents=True)
    shutil.copy(elf, tree / "boot" / "guest.elf")
    (tree / "boot" / "grub" / "grub.cfg").write_text(_GRUB.format(command_line=command_line))
    iso = directory / "guest.iso"
    command = ["grub-mkrescue", *_NO_MORE_THAN_NEEDED, "-o", iso, tree]
    made = subprocess.run(command, capture_output=True, text=True)
    shutil.rmtree(tree)
    if made.returncode:
        raise BochsError(f"grub-mkrescue: {made.stderr.strip().splitlines()[-1]}")
    return iso


def run(iso: Path, timeout: float = 300.0, megabytes: int = 64) -> str:
    """Run a guest until it shuts Bochs down, and return what it printed on port 0xe9."""
    with tempfile.TemporaryDirectory(prefix="bochs-") as directory:
        # Without the ``quit``, a guest that stops in the debugger would leave it waiting.
        return _console(_run(iso, Path(directory), "c\nquit\n", timeout, megabytes))


def stop_at(
    iso: Path,
    linear: int,
    commands: Sequence[str] = (),
    dumps: Sequence[tuple[int, int]] = (),
    *,
    timeout: float = 300.0,
    megabytes: int = 64,
) -> Stop:
    """Run a guest to a linear address; return its answers to debugger commands, and memory.

    ``dumps`` are (linear address, size) and come back as bytes, read with ``writemem``, which takes
    no measurable time for 128 KiB. ``x`` and ``xp`` want explicit arguments (``x /8wx 0x1000``),
    since their defaults are those of the command before.
    """
    with tempfile.TemporaryDirectory(prefix="bochs-") as name:
        directory = Path(name)
        script = [f"lb {linear:#x}", "c", f"calc {_MARKER:#x}"]
        for number, command in enumerate(commands, 1):
            script += [command, f"calc {_MARKER + number:#x}"]
        files = [directory / f"dump{i}" for i in range(len(dumps))]
        for file, (start, size) in zip(files, dumps, strict=True):
            script.append(f'writemem "{file}" {start:#x} {size}')
        output = _run(iso, directory, "\n".join([*script, "quit", ""]), timeout, megabytes)
        console, answers = _split(output, linear, len(commands))
        memory = tuple(_dumped(f, *d) for f, d in zip(files, dumps, strict=True))
    return Stop(console, dict(zip(commands, answers, strict=True)), memory)


def _split(output: str, linear: int, wanted: int) -> tuple[str, list[str]]:
    parts = _MARKED.split(output)
    if len(parts) == 1 or not re.search(
        rf"^\(0\) Breakpoint 1, 0x0*{linear:x} ", parts[0], re.MULTILINE
    ):
        raise BochsError(f"the guest did not reach {linear:#x}: {_last_line(output)}")
    answers = [_without_noise(text) for text in parts[2::2]]
    if len(answers) != wanted + 1:
        raise BochsError(f"Bochs does not know a command: {_last_line(parts[-1])}")
    return _console(parts[0]), answers[:wanted]


def _without_noise(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not _NOISE.match(line))


def _console(output: str) -> str:
    """Cut away the banner before and the debugger's words after what the guest printed."""
    _, _, rest = output.partition("jmpf 0xf000:e05b")
    return _without_noise(rest.partition("\n")[2])


def _dumped(file: Path, start: int, size: int) -> bytes:
    content = file.read_bytes() if file.exists() else b""
    if len(content) != size:
        raise BochsError(f"memory at {start:#x} ({size} bytes) is not mapped")
    return content


def _run(iso: Path, directory: Path, script: str, timeout: float, megabytes: int) -> str:
    unshare = _unshare()
    if unshare is None:
        raise BochsError(available() or "unshare is not permitted here")
    log = directory / "bochs.log"
    configuration, commands = directory / "bochsrc", directory / "commands"
    configuration.write_text(_CONFIGURATION.format(iso=iso, log=log, megabytes=megabytes))
    commands.write_text(script)
    # Standard input is empty, so that a debugger that waits for a command ends instead.
    process = subprocess.Popen(
        [*unshare, *_with_debugger(), "-q", "-f", configuration, "-rc", commands],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_dies_with(os.getpid()),
    )
    try:
        output = process.communicate(timeout=timeout)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0].decode("utf-8", "replace")
        last = _last_line(output)
        raise BochsError(f"Bochs did not end in {timeout:g} s; it last printed: {last}") from None
    except BaseException:
        process.kill()
        process.wait()
        raise
    _check_panic(log)
    return output


def _check_panic(log: Path) -> None:
    # A guest that shuts Bochs down by port 8900h ends it by a panic too.
    text = log.read_text(errors="replace") if log.exists() else ""
    panic = re.search(r">>PANIC<< (?!Shutdown port)(.*)", text)
    if panic:
        raise BochsError(f"Bochs: {panic[1]}")


@cache
def _with_debugger() -> tuple[str, ...]:
    """Start the debugger: newer versions want to be asked, and older ones know no such option.

    Without it, Bochs takes a script of commands, and never reads it.
    """
    described = subprocess.run(["bochs", "--help"], capture_output=True, text=True).stderr
    return ("bochs", "-debugger") if "-debugger" in described else ("bochs",)


def _unshare() -> list[str] | None:
    """Find a permitted way to a network namespace: as root, or as a root of one's own."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return None


def _dies_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None).prctl

    def ask_for_death() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask_for_death


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("(0)")]
    return lines[-1].strip() if lines else "nothing"
