"""help: every command by what it is for, or one command whole; echo: a script's own words."""

import textwrap
from argparse import Namespace

from klosdbg.commands.base import Command, arg, command
from klosdbg.errors import CommandError
from klosdbg.models import HelpText, Remark, Result
from klosdbg.session import Session

HEADINGS = {
    "look": "Look (reading never changes the guest)",
    "klos": "KLOS",
    "run": "Run and stop",
    "breakpoints": "Breakpoints",
    "change": "Change the guest",
    "record": "Record, and look at what was recorded",
    "tools": "Tools",
}


@command(
    "help",
    "list the commands, or explain one",
    arg("name", nargs="*", completes="command", metavar="COMMAND", help="what to explain"),
    example="help gdt",
    group="tools",
    aliases=("h", "?"),
)
def help_(_session: Session, args: Namespace) -> Result:
    from klosdbg.commands import collect

    commands = collect()
    if not args.name:
        return _overview(list(dict.fromkeys(commands.values())))
    name = " ".join(args.name)
    if name not in commands:
        return _family(list(dict.fromkeys(commands.values())), name)
    chosen = commands[name]
    return HelpText(chosen.help(), ((chosen.name, chosen.summary),))


@command(
    "echo",
    "print a line, to say what a script shows next",
    arg("words", nargs="*", metavar="WORD", help="what to print"),
    example="echo The tables at klos_ready:",
    group="tools",
)
def echo(_session: Session, args: Namespace) -> Result:
    return Remark(" ".join(args.words))


def _overview(commands: list[Command]) -> HelpText:
    width = max(len(c.name) for c in commands)
    lines = []
    for group, heading in HEADINGS.items():
        lines += ["", heading]
        lines += [_line(c, width) for c in commands if c.group == group]
    lines += [
        "",
        "An ADDRESS is symbol+n, file.c:12, sel:off (ds:0x10, 0x1b:0x1000), 0xlinear",
        "or phys:0x1000. 'gdb COMMAND' asks gdb, and then unknown commands are gdb's.",
        "'help COMMAND' explains one; --json makes any of them print JSON.",
    ]
    return HelpText("\n".join(lines[1:]), tuple((c.name, c.summary) for c in commands))


def _family(commands: list[Command], name: str) -> HelpText:
    """List the commands that have a word which begins like this: ``events``, ``capture``."""
    found = [c for c in commands if any(word.startswith(name) for word in c.name.split())]
    if not found:
        raise CommandError(f"no command {name!r}: 'help' lists them")
    width = max(len(c.name) for c in found)
    lines = [*(_line(c, width) for c in found), "'help COMMAND' explains one."]
    return HelpText("\n".join(lines), tuple((c.name, c.summary) for c in found))


def _line(chosen: Command, width: int) -> str:
    lead = f"  {chosen.name:{width}}  "
    return textwrap.fill(chosen.summary, 80, initial_indent=lead, subsequent_indent=" " * len(lead))
