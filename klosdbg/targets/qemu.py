"""Start QEMU with a guest, stopped at its first instruction, and never leave one behind."""

import atexit
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from klosdbg.errors import DataError, GuestEnded, TargetLost
from klosdbg.ports import Target
from klosdbg.targets.children import dies_with
from klosdbg.targets.host import not_installed
from klosdbg.targets.live import add_qmp, add_ram
from klosdbg.targets.private_dir import PrivateDirectory
from klosdbg.targets.qmp import Qmp
from klosdbg.targets.rsp import greet
from klosdbg.targets.rsp_link import RspLink, open_socket
from klosdbg.targets.shared_ram import share

DEFAULT_QEMU = "qemu-system-i386"

_START_TIMEOUT = 15.0
_STOP_TIMEOUT = 10.0
_DEATH_TIMEOUT = 5.0
_OWN_MAGIC = b"KLOSINFO"
_GDB, _QMP, _CONSOLE, _SERIAL, _LOG = "gdb", "qmp", "console.log", "serial.log", "qemu.log"


@dataclass(frozen=True, slots=True)
class QemuOptions:
    """How to start QEMU. ``image`` is a multiboot ELF, or None to boot what ``extra_args`` say.

    ``accel`` is ``auto``, ``tcg`` or ``kvm``; ``auto`` means ``tcg``, because only a guest that
    tests an accelerator tells whether it works, and starting one for every run costs too much.
    ``beside`` runs QEMU in the image's directory: the guest gets the image's path as the first word
    of its command line, and a replay has to give it the same.
    """

    image: Path | None = None
    append: str = ""
    accel: Literal["auto", "tcg", "kvm"] = "auto"
    deterministic: bool = False
    headless: bool = False
    qemu: str = DEFAULT_QEMU
    extra_args: tuple[str, ...] = ()
    beside: bool = False


def start_qemu(options: QemuOptions) -> Target:
    """Start QEMU and attach to it; closing the target ends it.

    Call it from a thread that lives as long as the process: QEMU dies with that thread.
    ``DataError`` for an image that cannot be read, ``TargetLost`` where QEMU is missing or ends.
    """
    process = QemuProcess(options)
    with ExitStack() as undo:
        undo.callback(process.close)
        target = process.attach()
        undo.pop_all()
        return target


class QemuProcess:
    """A running QEMU with its private directory: sockets, console, serial line, messages."""

    def __init__(self, options: QemuOptions) -> None:
        self._has_exit_port = is_own = _check_image(options.image)
        self._counts = options.deterministic
        binary = shutil.which(options.qemu)
        if binary is None:
            raise TargetLost(not_installed(options.qemu))
        self._name = options.image.name if options.image else options.qemu
        self._where = options.image.parent if options.image and options.beside else None
        self._directory = PrivateDirectory()
        self._ram = share(options.extra_args) if options.accel != "kvm" else None
        ours = self._ram.arguments if self._ram else []
        command = [binary, *ours, *command_line(options, self._directory.path, is_own)]
        self._process = self._spawn(command)
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The process id, which is its process group's as well."""
        return self._process.pid

    @property
    def stub(self) -> Path:
        """The socket of its stub."""
        return self._path(_GDB)

    def attach(self, wrap: Callable[[socket.socket], socket.socket] = lambda s: s) -> Target:
        """Connect to its stub and, when first needed, to its QMP; ``wrap`` may tap the former."""
        qmp = Qmp(f"unix:{self._path(_QMP)}", self.last_words)
        link = RspLink(wrap(self.connect()), self._name, self.last_words)
        target = add_qmp(greet(link, resets=qmp), qmp)
        if self._ram:
            target = add_ram(target, self._ram)

        def close() -> None:
            self.close()
            target.close()

        count = (lambda: int(qmp.execute("query-replay")["icount"])) if self._counts else None
        return replace(
            target,
            name=self._name,
            read_console=self.read_console,
            instructions=count,
            close=close,
        )

    def read_console(self) -> bytes:
        """Read all that the guest has printed: to port 0xe9, or if it never did, to COM1."""
        return self._read(_CONSOLE) or self._read(_SERIAL)

    def last_words(self) -> TargetLost | None:
        """Say how QEMU ended, by its own last line if it has one; None while it runs."""
        try:
            status = self._process.wait(_DEATH_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None
        lines = self._read(_LOG).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if self._has_exit_port and status > 0 and status % 2 and not last:
            return GuestEnded(f"the guest left through its exit port with {status >> 1}")
        how = f"signal {-status}" if status < 0 else f"status {status}"
        hint = " (is the image a 32-bit multiboot kernel?)" if "kernel" in last else ""
        return TargetLost(f"QEMU ended ({how}): {last}{hint}" if last else f"QEMU ended ({how})")

    def close(self) -> None:
        """End QEMU and remove its directory. Doing it twice does no harm."""
        atexit.unregister(self.close)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._directory.remove()
        if self._ram:
            self._ram.forget()

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        try:
            with open(self._path(_LOG), "wb") as log:
                return subprocess.Popen(
                    command,
                    cwd=self._where,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=dies_with(os.getpid()),
                )
        except OSError as error:
            self._directory.remove()
            raise TargetLost(f"cannot start {command[0]}: {error.strerror}") from None

    def connect(self) -> socket.socket:
        """Connect to its stub, which takes one client; raise ``TargetLost`` where QEMU ended."""
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                return open_socket(f"unix:{self._path(_GDB)}")
            except TargetLost:
                if self._process.poll() is not None:
                    raise TargetLost(f"cannot start: {self.last_words()}") from None
                if time.monotonic() > deadline:
                    raise TargetLost(f"QEMU does not come up in {_START_TIMEOUT:g} s") from None
                time.sleep(0.003)

    def _path(self, name: str) -> Path:
        return self._directory.path / name

    def _read(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except OSError:
            return b""


def command_line(options: QemuOptions, directory: Path, is_own: bool) -> list[str]:
    """Build QEMU's arguments; what the user's own arguments give is not given twice."""
    command = ["-S", "-no-user-config", "-action", "reboot=shutdown,shutdown=pause"]
    command += ["-gdb", f"unix:path={directory / _GDB},server=on,wait=off"]
    command += ["-qmp", f"unix:{directory / _QMP},server=on,wait=off"]
    command += ["-accel", "kvm" if options.accel == "kvm" else "tcg"]
    if options.deterministic:
        command += ["-icount", "shift=0,sleep=off"]
    if options.image:
        command += ["-kernel", options.image.name if options.beside else str(options.image)]
        command += ["-append", options.append] if options.append else []
    if is_own:
        command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if options.headless or not _has_display():
        command += _unless_given(options, "-display", "none")
    command += _unless_given(options, "-debugcon", f"file:{directory / _CONSOLE}")
    command += _unless_given(options, "-serial", f"file:{directory / _SERIAL}")
    if not {"-net", "-netdev", "-nic"} & set(options.extra_args):
        command += ["-net", "none"]
    return [*command, *options.extra_args]


def _unless_given(options: QemuOptions, name: str, value: str) -> list[str]:
    return [] if name in options.extra_args else [name, value]


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _check_image(image: Path | None) -> bool:
    """Tell whether an image describes itself as KLOS does, and so knows the exit port."""
    if image is None:
        return False
    try:
        content = image.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot read the image {image}: {reason}") from None
    return _OWN_MAGIC in content
