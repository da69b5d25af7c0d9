"""doctor: what is installed, what is missing, and what the accelerators here enforce."""

import platform
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath

from klosdbg.commands.base import arg, command
from klosdbg.errors import CommandError
from klosdbg.models import Diagnosis, OwnImages, Result, Tool
from klosdbg.session import Factories, Session
from klosdbg.x86.enforcement import ProbeResult

ACCELERATORS = ("tcg", "kvm")

_QEMU = "qemu-system-x86"

# Program, Debian package, what klosdbg needs it for, and whether nothing works without it.
_TOOLS = (
    ("qemu-system-i386", _QEMU, "boots 16- and 32-bit guests", True),
    ("qemu-system-x86_64", _QEMU, "boots 64-bit guests", False),
    ("qemu-img", "qemu-utils", "snapshots for record and replay", False),
    ("gdb", "gdb", "source-level debugging, gdb extension", False),
)
# What a checkout needs besides, to be built and tested.
_OF_A_CHECKOUT = (
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
def doctor(session: Session, args: Namespace) -> Result:
    factories = session.factories
    if factories is None:
        raise CommandError("doctor cannot start programs from here: run 'klosdbg doctor'")
    images = factories.own_images()
    tools = _tools(factories.version, images.in_checkout)
    probed = tuple(factories.probe(accel, args.qemu) for accel in args.accel or ACCELERATORS)
    return Diagnosis(
        tools=tools,
        packages=tuple((name, _package_version(name)) for name in PYTHON_PACKAGES),
        images=images,
        probes=probed,
        list_rows=args.rows,
        environment=tuple(_environment(factories, args.qemu, tools, probed, images)),
    )


def _tools(find_version: Callable[[str, str], str | None], in_checkout: bool) -> tuple[Tool, ...]:
    return tuple(
        Tool(name, package, use, required, find_version(name, package))
        for name, package, use, required in (*_TOOLS, *(_OF_A_CHECKOUT if in_checkout else ()))
    )


def _environment(
    factories: Factories,
    qemu: str,
    tools: Sequence[Tool],
    probes: Sequence[ProbeResult],
    images: OwnImages,
) -> Iterator[tuple[str, str]]:
    """Yield what a bug report has to say of this machine."""
    versions = {tool.name: tool.version for tool in tools}
    yield "klosdbg", _package_version("klosdbg") or "not installed"
    yield "python", platform.python_version()
    yield "system", factories.system()
    yield "qemu", f"{_told(factories.version(qemu, _QEMU))} ({factories.find(qemu) or qemu})"
    yield "gdb", _told(versions["gdb"])
    if versions.get("bochs") is not None:
        yield "bochs", _told(versions["bochs"])
    for path, build in images.builds[:1]:
        yield PurePath(path).name, f"build {build or 'missing'}"
    yield "accelerators", ", ".join(f"{probe.accelerator} {probe.status}" for probe in probes)


def _told(version: str | None) -> str:
    return "not installed" if version is None else version or "of an unknown version"


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
