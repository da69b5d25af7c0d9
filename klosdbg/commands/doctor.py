"""doctor: what is installed, what is missing, and what the accelerators here enforce."""

from argparse import Namespace
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from klosdbg.commands.base import arg, command
from klosdbg.errors import CommandError
from klosdbg.models import Diagnosis, Tool
from klosdbg.session import Session
from klosdbg.x86.enforcement import ProbeResult

ACCELERATORS = ("tcg", "kvm")

# Program, Debian package, what klosdbg needs it for, and whether nothing works without it.
_TOOLS = (
    ("qemu-system-i386", "qemu-system-x86", "boots 16- and 32-bit guests", True),
    ("qemu-system-x86_64", "qemu-system-x86", "boots 64-bit guests", False),
    ("qemu-img", "qemu-utils", "snapshots for record and replay", False),
    ("gdb", "gdb", "source-level debugging, gdb extension", False),
    ("gcc", "gcc", "builds the guests", False),
    ("make", "make", "builds the guests", False),
    ("bochs", "bochs bochsbios vgabios", "tests: enforces what TCG does not", False),
    ("grub-mkrescue", "grub-common grub-pc-bin mtools", "tests: boot CDs for Bochs", False),
    ("xorriso", "xorriso", "tests: boot CDs for Bochs", False),
    ("lldb", "lldb", "tests: a second client of the server", False),
)
PYTHON_PACKAGES = ("capstone", "prompt_toolkit", "pyelftools", "pygdbmi", "pyyaml", "qemu.qmp")


@command(
    "doctor",
    "show what is installed, and what each accelerator enforces",
    arg("--accel", choices=ACCELERATORS, action="append", help="test this one alone"),
    arg("--qemu", default="qemu-system-i386", metavar="BINARY", help="the QEMU to test"),
    arg("--rows", action="store_true", help="list each situation that was tested"),
    example="doctor --accel tcg --rows",
    group="tools",
)
def doctor(session: Session, args: Namespace) -> object:
    factories = session.factories
    if factories is None:
        raise CommandError("doctor cannot start programs from here: run 'klosdbg doctor'")
    probes = (factories.probe(accel, args.qemu) for accel in args.accel or ACCELERATORS)
    return Diagnosis(
        tools=_tools(factories.version),
        packages=tuple((name, _package_version(name)) for name in PYTHON_PACKAGES),
        probes=tuple(probe for probe in probes if isinstance(probe, ProbeResult)),
        list_rows=args.rows,
    )


def _tools(find_version: Callable[[str, str], str | None]) -> tuple[Tool, ...]:
    return tuple(
        Tool(name, package, use, required, find_version(name, package))
        for name, package, use, required in _TOOLS
    )


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
