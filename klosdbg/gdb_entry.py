"""The second root, sourced inside gdb: every command as ``klos CMD``, and convenience functions."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import gdb

from klosdbg.commands import collect
from klosdbg.commands.base import Command, split
from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.frontend import Frontend, find_command
from klosdbg.read import read_selector, resolve_linear
from klosdbg.session import Session
from klosdbg.targets.in_gdb import in_gdb, symbols_in_gdb
from klosdbg.wire.symbols import SymbolTable
from klosdbg.x86.descriptor import Segment, SystemSegment

T = TypeVar("T")

_HELP = "klosdbg's commands: 'klos help' lists them, 'help klos gdt' explains one."
_REFUSED = {"quit": "'quit' leaves gdb", "detach": "'detach' leaves the guest"}


class _Held:
    """The session that every command of this gdb shares."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def session(self) -> Session:
        """Give the session, looking at the guest as it is now."""
        if self._session is None:
            self._session = Session(interactive=True, warn=_warn)
            self._session.attach(in_gdb())
        self._session.symbols = _symbols(tuple(o.filename or "" for o in gdb.objfiles()))
        forget = getattr(self._session.live.registers, "forget", None)
        if forget:
            forget()
        return self._session


@cache
def _symbols(_files: tuple[str, ...]) -> SymbolTable:
    return symbols_in_gdb()


def _from_word(word: str, replaced: int, completed: str) -> str:
    """Give what replaces gdb's ``word`` where ``replaced`` characters become ``completed``."""
    missing = replaced - len(word)
    return completed[missing:] if missing >= 0 else word[: -replaced or None] + completed


def _warn(message: str) -> None:
    gdb.write(f"klosdbg: {message}\n", gdb.STDERR)


_HELD = _Held()


def _guarded(do: Callable[[], T]) -> T:
    try:
        return do()
    except KlosdbgError as error:
        raise gdb.GdbError(f"klosdbg: {error}") from None


def _run(line: str) -> None:
    words = split(line)
    chosen, _rest = find_command(words)
    if chosen.name in _REFUSED:
        raise KlosdbgError(f"{chosen.name!r} is not for gdb: {_REFUSED[chosen.name]}")
    Frontend(_HELD.session()).run_words(words)


def _base(session: Session, selector: int) -> int:
    info = read_selector(session.target, selector)
    if info.paragraph:
        return selector << 4
    if not isinstance(info.descriptor, Segment | SystemSegment):
        raise CommandError(f"{selector:#x} names no segment: 'klos sel {selector:#x}' says what")
    return info.descriptor.base


class _Prefix(gdb.Command):  # type: ignore[misc]
    def __init__(self) -> None:
        self.__doc__ = _HELP
        super().__init__("klos", gdb.COMMAND_USER, prefix=True)

    def invoke(self, line: str, _from_tty: bool) -> None:
        """Run what gdb knows no sub-command for: the error names what comes close."""
        _guarded(lambda: _run(line or "help"))


class _Sub(gdb.Command):  # type: ignore[misc]
    """One command of klosdbg, with the help of its declaration."""

    def __init__(self, name: str, command: Command, prefix: bool) -> None:
        self._name = name
        usage = command.help().replace(f"{command.summary}\n\n", "", 1)
        self.__doc__ = f"{command.summary}\n\n{usage}"
        super().__init__(f"klos {name}", gdb.COMMAND_USER, prefix=prefix)

    def invoke(self, line: str, _from_tty: bool) -> None:
        """Run the command."""
        _guarded(lambda: _run(f"{self._name} {line}"))

    def complete(self, text: str, word: str) -> list[str]:
        """Complete as the shell does."""
        from prompt_toolkit.document import Document

        from klosdbg.completion import ShellCompleter

        line = Document(f"{self._name} {text}")
        found = ShellCompleter(_HELD.session()).get_completions(line, None)
        return [_from_word(word, -c.start_position, c.text) for c in found]


class _Gap(gdb.Command):  # type: ignore[misc]
    """The first word of two-word commands, which is none by itself."""

    def __init__(self, name: str) -> None:
        self.__doc__ = f"klosdbg's commands that begin with {name!r}."
        super().__init__(f"klos {name}", gdb.COMMAND_USER, prefix=True)


class _SelectorBase(gdb.Function):  # type: ignore[misc]
    """$klos_sel(SELECTOR): the linear base of the segment that a selector names."""

    def __init__(self) -> None:
        super().__init__("klos_sel")

    def invoke(self, selector: gdb.Value) -> int:
        """Follow the selector to its descriptor in the live tables."""
        return _guarded(lambda: _base(_HELD.session(), int(selector)))


class _LinearAddress(gdb.Function):  # type: ignore[misc]
    """$klos_lin("ADDRESS"): the linear address of sel:off, symbol+n or a register."""

    def __init__(self) -> None:
        super().__init__("klos_lin")

    def invoke(self, wanted: gdb.Value) -> int:
        """Resolve as every command of klosdbg does."""
        session = _HELD.session()
        text = wanted.string()
        return _guarded(lambda: resolve_linear(session.target, session.symbols, text))


def _register() -> None:
    commands = collect()
    firsts = {name.split()[0] for name in commands if " " in name}
    _Prefix()
    for first in sorted(firsts - commands.keys()):
        _Gap(first)
    for name in sorted(commands):
        _Sub(name, commands[name], name in firsts)
    _SelectorBase()
    _LinearAddress()


_register()
