"""Boot the probe guest under an accelerator, to see what that enforces and whether it works at all.

A ``/dev/kvm`` says neither: nested, it may fail to emulate 32-bit code, or abort while QEMU starts.
"""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

from klosdbg.targets.children import dies_with
from klosdbg.targets.host import not_installed
from klosdbg.targets.private_dir import PrivateDirectory
from klosdbg.x86.enforcement import ProbeReport, ProbeResult, Status, decode_probe_report

# All that the accelerator can do; if it cannot do that, what ``klosdbg run`` uses.
_MODELS = ("max", "")
_TIMEOUT = 20.0
_POLL = 0.02
_CONSOLE, _LOG = "console.log", "qemu.log"
_KVM_FAILURE = re.compile(r"^(KVM internal error|emulation failure|error: kvm run failed).*", re.M)


def run_probe(
    accel: str,
    qemu: str,
    image: Path,
    timeout: float = _TIMEOUT,
    models: tuple[str, ...] = _MODELS,
) -> ProbeResult:
    """Boot the probe guest under an accelerator and return what it found, or why it could not.

    ``models`` are processor models to try until QEMU starts; an empty one is QEMU's default.
    """
    binary = shutil.which(qemu)
    if binary is None:
        return ProbeResult(accel, "cannot-start", not_installed(qemu))
    result = _run(binary, accel, models[0], image, timeout)
    for model in models[1:]:
        if result.status == "cannot-start":
            result = _run(binary, accel, model, image, timeout)
    return result


def _run(binary: str, accel: str, model: str, image: Path, timeout: float) -> ProbeResult:
    directory = PrivateDirectory()
    try:
        run = _Run(directory.path)
        status = run.wait(_command(binary, accel, model, image, directory.path), timeout)
        reason = run.reason(status, timeout)
        return ProbeResult(accel, status, reason, model or "default", run.report())
    finally:
        directory.remove()


def _command(binary: str, accel: str, model: str, image: Path, directory: Path) -> list[str]:
    command = [binary, "-no-user-config", "-M", "pc", "-m", "32", "-accel", accel]
    command += ["-cpu", model] if model else []
    command += ["-display", "none", "-monitor", "none", "-serial", "none", "-net", "none"]
    command += ["-no-reboot", "-kernel", str(image)]
    command += ["-debugcon", f"file:{directory / _CONSOLE}"]
    return [*command, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


class _Run:
    """One run of QEMU, watched through the two files that it writes."""

    def __init__(self, directory: Path) -> None:
        self._console = directory / _CONSOLE
        self._log = directory / _LOG

    def wait(self, command: list[str], timeout: float) -> Status:
        """Run QEMU until the probe has ended, one way or the other, and end it."""
        with open(self._log, "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid()),
            )
        try:
            return self._watch(process, time.monotonic() + timeout)
        finally:
            process.kill()
            process.wait()

    def report(self) -> ProbeReport:
        """Decode what the probe has printed so far."""
        return decode_probe_report(_read(self._console))

    def reason(self, status: Status, timeout: float) -> str:
        """Say in one line why a run did not come to its end; empty if it did."""
        if status == "ok":
            return ""
        report = self.report()
        after = f"after row {report.rows[-1].id}" if report.rows else "in the first row"
        if status == "cannot-start":
            lines = [line for line in _read(self._log).splitlines() if line.strip()]
            return _without_program(lines) or "QEMU ended at once and said nothing"
        if status == "emulation-failure":
            return f"KVM cannot emulate an instruction of the probe guest, {after}"
        if report.panic:
            return f"an exception that the probe did not cause, {after}: {report.panic}"
        if status == "hangs":
            return f"no end in {timeout:g} s, {after}"
        return f"QEMU ended, {after}"

    def _watch(self, process: "_Waitable", deadline: float) -> Status:
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            report = self.report()
            if report.complete:
                return "ok"
            if report.panic:
                return "crashes"
            if _KVM_FAILURE.search(_read(self._log)):
                return "emulation-failure"
            if ended:
                return "crashes" if report.announced else "cannot-start"
            time.sleep(_POLL)
        return "hangs"


class _Waitable(Protocol):
    def poll(self) -> int | None: ...


def _without_program(lines: list[str]) -> str:
    # The first complaint is the cause; warnings come before it, assertions after.
    complaints = [line for line in lines if "warning:" not in line] or lines
    return complaints[0].split(": ", 1)[-1].strip() if complaints else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
