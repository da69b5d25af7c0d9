"""Time ways into an operating system on the host's own processor (guest/hostprobe/cycles64)."""

import errno
import subprocess
from pathlib import Path

from klosdbg.errors import CommandError

_CANNOT_RUN = 77
_TIMEOUT = 120.0
_NAMES = {"design-b": "design_b", "syscall": "syscall", "int80": "int80", "design-a": "design_a"}


def host_cycles(program: Path) -> dict[str, float]:
    """Run the program and return TSC ticks for one call, by mechanism; ``CommandError`` if not."""
    try:
        ran = subprocess.run(
            [program], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        foreign = getattr(error, "errno", None) == errno.ENOEXEC
        why = "it is no x86-64 Linux" if foreign else error
        raise CommandError(f"cannot measure on this host: {why}") from None
    if ran.returncode == _CANNOT_RUN:
        reason = ran.stdout.strip().removeprefix("CANNOT|")
        raise CommandError(f"cannot measure on this host: {reason}")
    return parse_cycles(ran.stdout)


def parse_cycles(printed: str) -> dict[str, float]:
    """Read what the program printed; ``CommandError`` where it did not come to its end."""
    lines = [line.split("|") for line in printed.splitlines()]
    try:
        measured = {_NAMES[row[1]]: float(row[2]) for row in lines if row[0] == "PATH"}
    except (IndexError, KeyError, ValueError):
        measured = {}
    if ["END"] not in lines or not measured:
        raise CommandError("cannot measure on this host: the program printed no result")
    return measured
