"""What a client says with ``monitor``: klosdbg's commands, the server's own, QEMU's harmless ones.

QEMU's monitor can run programs of the host, so what is not on the list is not passed on.
"""

import io
import re

from klosdbg.commands.base import Command, split
from klosdbg.errors import CommandError, KlosdbgError, UsageError
from klosdbg.frontend import Frontend, find_command
from klosdbg.server.client import Client
from klosdbg.session import Session

READ_ONLY = (
    "info block",
    "info chardev",
    "info cpus",
    "info cr",
    "info history",
    "info irq",
    "info lapic",
    "info mem",
    "info mtree",
    "info network",
    "info pci",
    "info pic",
    "info qtree",
    "info registers",
    "info replay",
    "info roms",
    "info status",
    "info tlb",
    "info version",
    "gva2gpa",
    "xp",
    "x",
)
HELP = """\
monitor klos CMD               any command of klosdbg; 'monitor klos help' lists them
monitor klos control           take control: resume, write, set breakpoints
monitor klos release           give control up
monitor klos clients           who is connected
monitor klos as-threads on|off the system's threads as gdb's threads (on)
monitor klos linear-pc on|off  eip with CS base added, as gdb needs it (on)
of QEMU's monitor: info registers, info mem, info tlb, info pic, info status, x, xp, ..."""

_LEAVING = {"quit", "detach"}
_HARMLESS = {"tools"}
_HARMLESS_NAMES = {"sym", "console", "info b", "snaps", "capture info", "events show"}
_PLAIN = re.compile(r"[\x20-\x7e]+")


def run_klos(client: Client, line: str, *, controls: bool) -> str:
    """Run a command line of klosdbg for a client; what it prints, its error included."""
    out = io.StringIO()
    said: list[str] = []
    session = client.session
    session.warn = lambda message: said.append(f"klosdbg: {message}")
    try:
        words = split(line)
        if words:
            check_allowed(*find_command(words), session, controls)
            Frontend(session, out).run_line(line)
    except KlosdbgError as error:
        said.append(f"klosdbg: {error}")
    return out.getvalue() + "".join(f"{message}\n" for message in said)


def check_allowed(chosen: Command, rest: list[str], session: Session, controls: bool) -> None:
    """Raise ``CommandError`` for a command that this client may not run."""
    if chosen.name == "decode" and "-" in rest:
        raise CommandError("there is no standard input here: give the digits")
    if chosen.name == "console" and {"-f", "--follow"} & set(rest):
        raise CommandError("the console is not followed from here: 'klosdbg attach' follows it")
    if chosen.name == "gdb":
        raise CommandError("'gdb' would run a program of the server's: use a gdb of your own")
    if chosen.name in _LEAVING:
        raise CommandError(f"{chosen.name!r} would end the server: leave with your client's own")
    if controls or "--help" in rest or "-h" in rest:
        return
    harmless = chosen.reads or chosen.group in _HARMLESS or chosen.name in _HARMLESS_NAMES
    harmless &= not any(word.startswith("-f") for word in rest)
    stops = "--stop" in rest and session.control.running
    if stops or not harmless:
        raise CommandError(
            f"this client observes, and {chosen.name!r} needs control: "
            "'monitor klos control' takes it"
        )


def check_read_only(text: str) -> None:
    """Raise ``UsageError`` for a monitor command that is not known to be harmless."""
    words = text.split()
    name = " ".join(words[:2]) if words[:1] == ["info"] else words[0].partition("/")[0]
    if not _PLAIN.fullmatch(text) or name not in READ_ONLY:
        raise UsageError(f"{text!r} is not passed on to QEMU: 'monitor help' lists what is")
