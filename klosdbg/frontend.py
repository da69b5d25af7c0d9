"""Line to command to view: what the shell, ``-c``, gdb and the server's monitor have in common."""

import difflib
import json
import shlex
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TextIO

from klosdbg.commands import collect
from klosdbg.commands.base import Command, split
from klosdbg.errors import CommandError, UsageError
from klosdbg.models import MayFail, Model
from klosdbg.session import Session
from klosdbg.views import data, text
from klosdbg.views.base import Style
from klosdbg.x86.findings import FindsFaults


@dataclass(slots=True)
class Frontend:
    """Run command lines in a session and print what they return.

    ``found_fault`` tells whether a check that ran found something wrong; it never ends a run.
    """

    session: Session
    out: TextIO = field(default_factory=lambda: sys.stdout)
    found_fault: bool = False

    def run_line(self, line: str) -> None:
        """Run one command line; an empty line or a comment does nothing.

        What is no command of ours goes to the session's gdb, where it has been started.
        """
        first, _, rest = line.strip().partition(" ")
        if rest.strip() in ("--help", "-h") and _begins_commands(first):
            self.run_words(["help", first])
            return
        if _takes_line(first):
            self.run_words([first, rest])
            return
        if self.session.debugger and first and first[0] != "#" and _look_up(line.split()) is None:
            self.run_words(["gdb", line.strip()])
            return
        words = split(line)
        if words:
            chosen, given = find_command(words, asks_gdb=self.session.factories is not None)
            name = words[: len(words) - len(given)]
            kept = split(line, keep_quotes=True)[len(name) :] if chosen.keeps_quotes else given
            self.run_words([*name, *kept])

    def run_words(self, words: list[str]) -> None:
        """Run a command that is already split into words."""
        chosen, rest = find_command(words)
        args = chosen.parse(rest)
        if self.session.capture is not None:
            as_given = chosen.keeps_quotes or chosen.takes_line
            typed = " ".join(words) if as_given else shlex.join(words)
            self.session.capture.note("command", typed)
        if args is None:
            print(chosen.help(), file=self.out)
        elif chosen.reads and args.stop and self.session.control.running:
            self._run_stopped(chosen, args)
        else:
            self._run(chosen, args)
        if self.session.capture is not None:
            self.session.capture.poll()

    def _run_stopped(self, chosen: Command, args: Namespace) -> None:
        control = self.session.control
        stopped_itself = control.interrupt().reason != "interrupt"
        try:
            self._run(chosen, args)
        finally:
            if stopped_itself:
                self.session.warn(f"{chosen.name}: the guest had just stopped by itself")
            else:
                control.resume()
                self.session.warn(f"{chosen.name}: stopped the guest, read, and resumed it")

    def _run(self, chosen: Command, args: Namespace) -> None:
        result = chosen.run(self.session, args)
        models: Iterator[Model]
        models = (
            result if isinstance(result, Iterator) else iter(() if result is None else (result,))
        )
        try:
            for model in models:
                self._show(model, args.json or self.session.json)
        except KeyboardInterrupt:
            _interrupt(models)
            if not (self.session.interactive and isinstance(result, Iterator)):
                raise
            print(file=self.out)
        finally:
            close = getattr(models, "close", None)
            if close:
                close()

    def _show(self, model: Model, as_json: bool) -> None:
        style = Style(self.session.symbol, self.session.color and not as_json)
        shown = _document(model, style) if as_json else text(model, style)
        if shown:
            self._print(shown)
        if isinstance(model, FindsFaults):
            self.found_fault |= model.found_fault
        if isinstance(model, MayFail) and model.failure:
            raise CommandError(model.failure)

    def _print(self, shown: str) -> None:
        try:
            print(shown, file=self.out, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"cannot write the output: {str(error.strerror).lower()}") from None


def _interrupt(models: Iterator[Model]) -> None:
    """Tell a generator of a Ctrl-C that came while what it had yielded was printed."""
    throw = getattr(models, "throw", None)
    if throw:
        with suppress(KeyboardInterrupt, StopIteration):
            throw(KeyboardInterrupt)


def _document(model: Model, style: Style) -> str:
    """Give a model's document as a line; nothing for what is there for people alone."""
    document = data(model, style)
    return json.dumps(document) if document else ""


def find_command(words: list[str], asks_gdb: bool = False) -> tuple[Command, list[str]]:
    """Find the command that a line begins with (one word or two) and the words after it.

    Raise ``UsageError`` where there is none; ``asks_gdb`` lets it name ``gdb``, where that is
    installed.
    """
    found = _look_up(words)
    if found is not None:
        return found
    name, close = words[0], difflib.get_close_matches(words[0], collect(), 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "'help' lists the commands"
    if _begins_commands(name):
        name, hint = " ".join(words[:2]), f"'help {name}' lists what it can be"
    if asks_gdb and shutil.which("gdb"):
        hint += f" ('gdb {words[0]} ...' asks gdb)"
    raise UsageError(f"unknown command {name!r}: {hint}")


def _look_up(words: list[str]) -> tuple[Command, list[str]] | None:
    commands = collect()
    pair = " ".join(words[:2])
    if len(words) > 1 and pair in commands:
        return commands[pair], words[2:]
    return (commands[words[0]], words[1:]) if words[0] in commands else None


def _begins_commands(word: str) -> bool:
    """Tell whether commands of two words begin with this one, which is none by itself."""
    names = collect()
    return word not in names and any(name.startswith(f"{word} ") for name in names)


def _takes_line(name: str) -> bool:
    found = collect().get(name)
    return found is not None and found.takes_line
