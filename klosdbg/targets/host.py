"""What is installed on the host."""

import platform
import re
import shutil
import subprocess

_QEMU = (
    "apt install qemu-system-x86 "
    "(Fedora: qemu-system-x86-core, Arch: qemu-system-x86, macOS: brew install qemu)"
)
_INSTALL = {
    "qemu-img": "apt install qemu-utils (Fedora, Arch: qemu-img, macOS: brew install qemu)",
    "gdb": "apt install gdb (Fedora, Arch: gdb, macOS: brew install gdb)",
}
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
_TIMEOUT = 10.0


def not_installed(program: str) -> str:
    """Say in one line that a program is missing, a QEMU if no other, and what brings it."""
    return f"{program} is not installed: {_INSTALL.get(program, _QEMU)}"


def program_version(program: str, package: str) -> str | None:
    """Return a program's version, None where it is not installed, empty where it does not tell."""
    path = shutil.which(program)
    if path is None:
        return None
    told = _first_version([path, "--version"])
    return told or _first_version(["dpkg-query", "-W", "-f", "${Version}", package])


def system_name() -> str:
    """Name the distribution, where one is known, the kernel and the architecture."""
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    except OSError:
        return kernel


def _first_version(command: list[str]) -> str:
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(ran.stdout)
    return found[0].rstrip(",;)") if found else ""
