"""``klos CMD``: every declared command inside gdb, with its help and completion."""

import gdb

from klosdbg.commands import collect
from klosdbg.commands.base import Command, split
from klosdbg.errors import CommandError
from klosdbg.frontend import Frontend, find_command
from klosdbg.gdb_entry.event_stop import break_at_event
from klosdbg.gdb_entry.gdb_session import HELD, guarded

_HELP = "klosdbg's commands: 'klos help' lists them, 'help klos gdt' explains one."
_REFUSED = {
    "quit": "'quit' leaves gdb",
    "detach": "'detach' leaves the guest",
    "gdb": "type its command without 'klos gdb'",
}


def register() -> None:
    """Declare ``klos`` and every command under it."""
    commands = collect()
    firsts = {name.split()[0] for name in commands if " " in name}
    _Prefix()
    for first in sorted(firsts - commands.keys()):
        _Gap(first)
    for name in sorted(commands):
        _Sub(name, commands[name], name in firsts)


def _run(line: str) -> None:
    words = split(line)
    if not words:
        return
    chosen, rest = find_command(words)
    if chosen.name in _REFUSED:
        raise CommandError(f"{chosen.name!r} is not for gdb: {_REFUSED[chosen.name]}")
    if chosen.name == "c" and rest == ["&"]:
        raise CommandError("'c &' is not for gdb: 'klos c' waits for a stop, Ctrl-C stops it")
    with HELD.command() as session:
        own = chosen.parse(split(line, keep_quotes=True)[2:]) if chosen.name == "b event" else None
        if own is not None:
            break_at_event(session, own)
        else:
            Frontend(session).run_line(line)


class _Prefix(gdb.Command):  # type: ignore[misc]
    def __init__(self) -> None:
        self.__doc__ = _HELP
        super().__init__("klos", gdb.COMMAND_USER, prefix=True)

    def invoke(self, line: str, _from_tty: bool) -> None:
        """Run what gdb knows no sub-command for: the error names what comes close."""
        guarded(lambda: _run(line or "help"))


class _Sub(gdb.Command):  # type: ignore[misc]
    """One command of klosdbg, with the help of its declaration."""

    def __init__(self, name: str, command: Command, prefix: bool) -> None:
        self._name = name
        usage = command.help().replace(f"{command.summary}\n\n", "", 1)
        self.__doc__ = f"{command.summary}\n\n{usage}"
        super().__init__(f"klos {name}", gdb.COMMAND_USER, prefix=prefix)

    def invoke(self, line: str, _from_tty: bool) -> None:
        """Run the command."""
        guarded(lambda: _run(f"{self._name} {line}"))

    def complete(self, text: str, word: str | None) -> list[str]:
        """Complete as the shell does."""
        # gdb calls twice: first without a word, to be told where one begins if it asks otherwise.
        if word is None:
            return []
        from prompt_toolkit.document import Document

        from klosdbg.completion import ShellCompleter

        line = Document(f"{self._name} {text}")
        found = ShellCompleter(HELD.session()).get_completions(line, None)
        return [_from_word(word, -c.start_position, c.text) for c in found]


def _from_word(word: str, replaced: int, completed: str) -> str:
    """Give what replaces gdb's ``word`` where ``replaced`` characters become ``completed``."""
    missing = replaced - len(word)
    return completed[missing:] if missing >= 0 else word[: -replaced or None] + completed


class _Gap(gdb.Command):  # type: ignore[misc]
    """The first word of two-word commands, which is none by itself."""

    def __init__(self, name: str) -> None:
        self.__doc__ = f"klosdbg's commands that begin with {name!r}."
        super().__init__(f"klos {name}", gdb.COMMAND_USER, prefix=True)
