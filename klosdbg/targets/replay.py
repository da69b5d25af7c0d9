"""Recording a boot instruction for instruction, and booting it again.

QEMU writes what is not determined by the guest into ``log.bin``, beside a disk that holds the
machine as it was at its first instruction; going back means replaying from there.
"""

import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from klosdbg.errors import CommandError, DataError, TargetError, TargetLost, UsageError
from klosdbg.ports import Monitor, Reverse, RunControl, StopEvent, Target
from klosdbg.targets.host import not_installed
from klosdbg.targets.private_dir import PrivateDirectory
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.wire.bundle import REPLAY, Manifest
from klosdbg.wire.bundle_read import Bundle

LOG, DISK, IMAGE = "log.bin", "init.qcow2", "image.elf"
_LOG_VERSION = 4
"""QEMU writes it last of all."""
_MEMORY = "128"
_ALLOWED = {"-m": re.compile(r"[0-9]{1,5}[MG]?"), "-cpu": re.compile(r"[A-Za-z0-9_+=.,-]{1,200}")}
_QEMUS = re.compile(r"qemu-system-(i386|x86_64)")
_VERSION = re.compile(r"\d+(\.\d+)+")
_COUNT = re.compile(r"instruction count = (\d+)")
_QCOW2 = struct.Struct(">4sIQI")
_FEATURES = struct.Struct(">Q")
_FEATURES_AT = 72
_DIRTY = 1


def record_arguments(directory: Path, given: Sequence[str]) -> tuple[str, ...]:
    """Make the disk, and QEMU's arguments that record into ``directory``.

    Raise ``UsageError`` for arguments that a replay would not be given again, ``TargetLost`` where
    qemu-img is missing, ``CommandError`` where it makes no disk.
    """
    check_arguments(given)
    directory.mkdir(parents=True)
    tool = shutil.which("qemu-img")
    if tool is None:
        raise TargetLost(not_installed("qemu-img"))
    command = [tool, "create", "-q", "-f", "qcow2", str(directory / DISK), "16M"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        why = (made.stderr.strip().splitlines() or ["it failed"])[-1]
        raise CommandError(f"cannot make the disk for the replay: {why}")
    memory = () if "-m" in given else ("-m", _MEMORY)
    return (*_arguments(directory, "record"), *memory, *given)


def start_recorded(options: QemuOptions, capture: Path) -> tuple[Target, dict[str, Any]]:
    """Start QEMU so that it records into a capture's directory; and what a replay needs to know.

    Nothing of the guest can be written: a replay would not repeat it. An unusable directory goes.
    """
    directory = capture.resolve() / REPLAY
    assert options.image is not None
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, capture, ignore_errors=True)
        given = record_arguments(directory, options.extra_args)
        image = _copied(options.image, directory / IMAGE)
        target = start_qemu(
            replace(options, image=image, beside=True, deterministic=False, extra_args=given)
        )
        undo.pop_all()
    known = {
        "append": options.append,
        "arguments": list(options.extra_args),
        "qemu": options.qemu,
    }
    name = options.image.name
    why = "a replay would not repeat it, so leave out --deterministic"
    read_only = replace(target, name=name, linear_writer=None, register_writer=None, read_only=why)
    return read_only, known


def _copied(image: Path, to: Path) -> Path:
    try:
        shutil.copyfile(image, to)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot record the image {image}: {reason}") from None
    return to


def check_arguments(given: Sequence[str]) -> None:
    """Raise ``UsageError`` for arguments for QEMU other than ``-m`` and ``-cpu``.

    Captures come from strangers.
    """
    for name, value in zip(given[::2], [*given[1::2], ""], strict=False):
        if name not in _ALLOWED or not _ALLOWED[name].fullmatch(value):
            raise UsageError(f"{name} {value:.40}: a replay takes -m N and -cpu NAME alone")


def start_replay(bundle: Bundle, name: str, headless: bool) -> tuple[Target, bytes]:
    """Boot a deterministic capture again, stopped at its first instruction; and its image.

    Raise ``DataError`` for a capture that holds no replay, or one that is not to be trusted.
    """
    plain = bundle.manifest.replay
    missing = [n for n in (LOG, DISK, IMAGE) if REPLAY + n not in bundle.names]
    if not plain or missing:
        raise DataError(
            f"{name} cannot be replayed: it was not captured with --deterministic"
            if not plain
            else f"{name} cannot be replayed: {REPLAY}{missing[0]} is missing"
        )
    directory = PrivateDirectory()
    with ExitStack() as undo:
        undo.callback(directory.remove)
        image = _unpack(bundle, name, directory.path)
        target = start_qemu(_options(bundle, directory.path, headless))
        undo.pop_all()
    return _replayed(target, name, _end(bundle), directory), image


def check_version(manifest: Manifest, target: Target) -> str | None:
    """Say so where this QEMU is not of the version that recorded; None where it is."""
    told = target.monitor.command("info version") if target.monitor else ""
    found = _VERSION.search(told)
    if found is None or not manifest.qemu or manifest.qemu == found[0]:
        return None
    return (
        f"recorded by QEMU {ascii(manifest.qemu)[1:-1]:.20}, replayed by {found[0]}: another "
        "version may diverge from the recording"
    )


def _options(bundle: Bundle, directory: Path, headless: bool) -> QemuOptions:
    plain = bundle.manifest.replay
    arguments = plain.get("arguments")
    given = [str(word) for word in arguments] if isinstance(arguments, list) else []
    try:
        check_arguments(given)
    except UsageError as error:
        raise DataError(f"the capture is refused: {error}") from None
    qemu = str(plain.get("qemu", ""))
    if not _QEMUS.fullmatch(qemu):
        raise DataError(f"the capture is refused: it names {qemu[:40]!r}, which is no QEMU")
    memory = () if "-m" in given else ("-m", _MEMORY)
    return QemuOptions(
        image=directory / IMAGE,
        beside=True,
        append=str(plain.get("append", "")),
        headless=headless,
        qemu=qemu,
        extra_args=(*_arguments(directory, "replay"), *memory, *given),
    )


def _arguments(directory: Path, mode: str) -> tuple[str, ...]:
    """Give what records or replays.

    Without ``vapic=off`` going back hangs QEMU more often than not: its reset waits for the
    processor's thread, which waits for the lock of the replay that the reset holds.
    """
    log, disk = (str(directory / n).replace(",", ",,") for n in (LOG, DISK))
    return (
        *("-icount", f"shift=0,rr={mode},rrfile={log},rrsnapshot=init"),
        *("-drive", f"file={disk},format=qcow2,if=none,id=rr"),
        *("-global", "apic-common.vapic=off"),
    )


def _unpack(bundle: Bundle, name: str, directory: Path) -> bytes:
    for part in (LOG, DISK, IMAGE):
        with (directory / part).open("wb") as file:
            for chunk in bundle.chunks(REPLAY + part):
                file.write(chunk)
    with (directory / LOG).open("rb") as log:
        if not any(log.read(_LOG_VERSION)):
            raise DataError(
                f"{name} cannot be replayed: its recording was not finished ('open' shows it)"
            )
    _check_disk((directory / DISK).read_bytes()[:4096])
    return (directory / IMAGE).read_bytes()


def _check_disk(head: bytes) -> None:
    """Refuse a disk that would make QEMU open another file."""
    if len(head) < _FEATURES_AT + _FEATURES.size:
        raise DataError("the capture is refused: its disk is no qcow2 image")
    magic, version, backing, _ = _QCOW2.unpack_from(head)
    (features,) = _FEATURES.unpack_from(head, _FEATURES_AT)
    if magic != b"QFI\xfb" or version != 3 or backing or features & ~_DIRTY:
        raise DataError("the capture is refused: its disk is no plain qcow2 image of version 3")


def _end(bundle: Bundle) -> int | None:
    end = bundle.manifest.replay.get("instructions")
    return end if type(end) is int and end > 0 else None


def _replayed(target: Target, name: str, end: int | None, directory: PrivateDirectory) -> Target:
    if target.control is None or target.monitor is None or target.reverse is None:
        target.close()
        directory.remove()
        raise TargetLost("this QEMU cannot go back: its stub offers no reverse execution")
    control = ReplayControl(target.control, target.monitor, target.reverse, end)

    def close() -> None:
        target.close()
        directory.remove()

    return replace(
        target,
        name=name,
        control=control,
        reverse=control,
        linear_writer=None,
        register_writer=None,
        read_only="it would no longer be what was recorded",
        close=close,
    )


def instructions(monitor: Monitor) -> int | None:
    """Ask how many instructions were executed; None where QEMU neither records nor replays."""
    found = _COUNT.search(monitor.command("info replay"))
    return int(found[1]) if found else None


class ReplayControl:
    """Run control of a replay, which stops where the recording ends instead of shutting down."""

    def __init__(
        self, control: RunControl, monitor: Monitor, reverse: Reverse, end: int | None
    ) -> None:
        self._control = control
        self._monitor = monitor
        self._reverse = reverse
        self._end = end
        self._goes_back = False

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now."""
        return self._control.running

    def resume(self) -> None:
        """Let the guest run, up to the end of the recording at most."""
        self._arm()
        self._goes_back = False
        self._control.resume()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop; at an end of the recording, the reason says so."""
        event = self._control.wait(timeout)
        if self._goes_back and event.reason == "breakpoint" and self._here() == 0:
            return StopEvent("beginning of recording", event.signal)
        if event.reason == "interrupt" and not self._goes_back and self._is_over():
            return StopEvent("end of recording", event.signal)
        return event

    def step(self) -> StopEvent:
        """Execute one instruction."""
        self._arm()
        return self._control.step()

    def interrupt(self) -> StopEvent:
        """Stop a running guest."""
        return self._control.interrupt()

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address."""
        self._control.insert(address)

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint."""
        self._control.remove(address)

    def reset(self) -> StopEvent:
        """Raise ``TargetError``: a replay has one beginning."""
        raise TargetError("a replay is not reset: 'rc' goes back to where it began")

    def step_back(self) -> StopEvent:
        """Go back one instruction."""
        self._require_past()
        self._goes_back = True
        return self._reverse.step_back()

    def resume_back(self) -> None:
        """Run backwards to a breakpoint, or to the beginning."""
        self._require_past()
        self._goes_back = True
        self._reverse.resume_back()

    def back_to_write(self, address: int, size: int) -> StopEvent:
        """Run backwards to the instruction that last wrote to a linear address.

        QEMU stops behind it, so it takes a step more.
        """
        self._require_past()
        self._goes_back = True
        event = self._reverse.back_to_write(address, size)
        if event.reason != "breakpoint":
            return event
        if self._here() == 0:
            return StopEvent("beginning of recording", event.signal)
        self._reverse.step_back()
        return StopEvent("watchpoint", event.signal, address)

    def _require_past(self) -> None:
        """Refuse to go back at the beginning: QEMU would never answer."""
        if not self._control.running and self._here() == 0:
            raise TargetError("this is where the recording begins: 'c' and 's' go on")

    def _arm(self) -> None:
        if self._is_over():
            raise TargetError("this is where the recording ends: 'rs' and 'rc' go back")
        if self._end is not None:
            self._monitor.command(f"replay_break {self._end}")

    def _here(self) -> int | None:
        return instructions(self._monitor)

    def _is_over(self) -> bool:
        if self._end is None:
            return False
        here = self._here()
        return here is not None and here >= self._end
