"""Stops by gdb's own Python breakpoints, at a guest of gdb's own: what klosdbg is compared with."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from klosdbg.errors import TargetLost
from klosdbg.targets.children import dies_with
from klosdbg.targets.qemu import QemuOptions, QemuProcess

_SCRIPT = Path(__file__).with_name("gdb_breakpoints.py")
_ANSWER = "took "


@contextmanager
def gdb_loop(
    options: QemuOptions, places: Mapping[int, list[tuple[int, int]]]
) -> Iterator[Callable[[int], float]]:
    """Yield what makes so many stops at these linear addresses, and returns seconds a stop.

    At each the given ``(address, size)`` are read. ``TargetLost`` where gdb is missing or ends.
    """
    gdb = shutil.which("gdb")
    if gdb is None:
        raise TargetLost("gdb is not installed: see 'klosdbg doctor'")
    guest = QemuProcess(options)
    try:
        guest.connect().close()
        with _start(gdb, guest, places) as process:
            try:
                yield lambda stops: _ask(process, stops)
            finally:
                process.kill()
    finally:
        guest.close()


def _start(
    gdb: str, guest: QemuProcess, places: Mapping[int, list[tuple[int, int]]]
) -> subprocess.Popen[str]:
    given = {"KLOSDBG_STUB": str(guest.stub), "KLOSDBG_PLACES": json.dumps(places)}
    return subprocess.Popen(
        [gdb, "-nx", "-q", "-batch", "-x", str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **given},
        preexec_fn=dies_with(os.getpid()),
    )


def _ask(process: subprocess.Popen[str], stops: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{stops}\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise TargetLost("gdb ended: has it no Python?") from None
    for line in process.stdout:
        if line.startswith(_ANSWER):
            return float(line.removeprefix(_ANSWER)) / stops
    raise TargetLost("gdb ended: has it no Python?")
