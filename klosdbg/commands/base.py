"""One declaration of a command serves the shell, ``-c``, gdb's ``klos`` and the server's monitor.

A command is a function of a session and parsed arguments that returns a model, an iterator of
models, or None. It never prints::

    @command("ldt", "show the LDT, or one entry", arg("index", nargs="?", type=integer),
             example="ldt 2")
    def ldt(session: Session, args: Namespace) -> Result: ...
"""

import argparse
import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from klosdbg.errors import KlosdbgError, UsageError
from klosdbg.models import Result
from klosdbg.session import Session

_HEX = re.compile("[0-9a-f]+")

Run = Callable[[Session, Namespace], Result]


@dataclass(frozen=True)
class Arg:
    """One argument, as ``argparse`` takes it, and what completes it (see ``completion.py``)."""

    names: tuple[str, ...]
    options: dict[str, Any]
    completes: str = ""


def arg(*names: str, completes: str = "", **options: Any) -> Arg:
    """Declare an argument; ``completes`` is ``symbol``, ``selector``, ``register``, ``command``."""
    return Arg(names, options, completes)


def integer(string: str) -> int:
    """Read a number as people write it: ``27``, ``0x1b``, ``1bh``, ``0b11``.

    Raise argparse's ``ArgumentTypeError`` for what is none.
    """
    cleaned = string.strip().lower()
    try:
        return int(cleaned[:-1], 16) if cleaned.endswith("h") else int(cleaned, 0)
    except ValueError:
        written = f"write 0x{cleaned}" if _HEX.fullmatch(cleaned) else "write 27, 0x1b"
        raise argparse.ArgumentTypeError(f"{string!r} is not a number ({written})") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        one_line = " ".join(message.split())
        if one_line.startswith("unrecognized") and any(a.metavar == "EXPR" for a in self._actions):
            one_line += ": put an expression in quotes"
        raise UsageError(f"{self.prog}: {one_line} (see: help {self.prog})")


class _HelpWanted(KlosdbgError):
    """Carry the help text of a command to the front end, which prints it."""


class _HelpAction(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _HelpWanted


@dataclass(frozen=True, eq=False)
class Command:
    """A declared command. ``reads`` gives it ``--stop``; ``group`` is its heading in ``help``.

    ``keeps_quotes``: its words keep the quotes they were written with. ``takes_line``: it has one
    argument, ``line``, which is all that follows its name, as it was written.
    """

    name: str
    summary: str
    args: tuple[Arg, ...]
    run: Run
    example: str
    group: str
    reads: bool
    aliases: tuple[str, ...]
    keeps_quotes: bool = False
    takes_line: bool = False

    @cached_property
    def parser(self) -> argparse.ArgumentParser:
        """Build the argument parser, the first time that the command is used."""
        parser = _Parser(
            prog=self.name,
            description=self.summary,
            epilog=f"example: {self.example}",
            add_help=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=26, width=79
            ),
        )
        for a in self.args:
            action = parser.add_argument(*a.names, **a.options)
            # Python 3.11 saves these while it parses; a Ctrl-C just then found nothing to restore.
            vars(action).update(save_nargs=action.nargs, save_default=action.default)
        parser.add_argument("--json", action="store_true", help="print JSON, one document a line")
        if self.reads:
            parser.add_argument(
                "--stop", action="store_true", help="stop a running guest, read, and resume it"
            )
        parser.add_argument("--help", "-h", nargs=0, action=_HelpAction, help="show this help")
        return parser

    @property
    def options(self) -> list[str]:
        """List every option, ``--json`` and its like included."""
        return [name for action in self.parser._actions for name in action.option_strings]

    def help(self) -> str:
        """Show usage, arguments and an example."""
        return self.parser.format_help().rstrip()

    def parse(self, words: Sequence[str]) -> Namespace | None:
        """Parse the words after the name; None when the user asked for ``--help``."""
        if self.takes_line:
            return _parse_line(" ".join(words).strip())
        try:
            return self.parser.parse_intermixed_args(words)
        except _HelpWanted:
            return None


def _parse_line(line: str) -> Namespace | None:
    """Take ``--json`` from either end of a line; what else looks like an option is the line's."""
    if line in ("--help", "-h"):
        return None
    bare = f" {line} ".removeprefix(" --json ").removesuffix(" --json ").strip()
    return Namespace(line=bare, json=bare != line)


def command(
    name: str,
    summary: str,
    *args: Arg,
    example: str,
    group: str = "look",
    reads: bool = False,
    aliases: tuple[str, ...] = (),
    keeps_quotes: bool = False,
    takes_line: bool = False,
) -> Callable[[Run], Command]:
    """Declare a command: name, one-line summary, arguments, an example, its heading in ``help``."""

    def declare(run: Run) -> Command:
        return Command(
            name, summary, args, run, example, group, reads, aliases, keeps_quotes, takes_line
        )

    return declare


def split(line: str, keep_quotes: bool = False) -> list[str]:
    """Split a command line into words as a POSIX shell quotes them; ``#`` begins a comment.

    Raise ``UsageError`` for a quote that is not closed.
    """
    try:
        return shlex.split(line, comments=True, posix=not keep_quotes)
    except ValueError as error:
        raise UsageError(f"{line.strip()!r}: {str(error).lower()}: close the quote") from None
