"""The session that every command, function and stop of this gdb shares."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import gdb

from klosdbg.errors import KlosdbgError
from klosdbg.ports import Target
from klosdbg.session import Session
from klosdbg.targets.in_gdb import address_bits, in_gdb, symbols_in_gdb
from klosdbg.wire.symbols import SymbolTable

if TYPE_CHECKING:
    from klosdbg.captures.capture import RunFacts

T = TypeVar("T")


class Held:
    """The session, made when it is first wanted. ``busy``: a command of klosdbg is running."""

    def __init__(self) -> None:
        self.busy = False
        self._target: Target | None = None
        self._session = Session(interactive=True, warn=_warn, describe=_facts)

    def session(self) -> Session:
        """Give the session, looking at the guest as it is now."""
        session = self.as_last_seen()
        forget = getattr(session.live.registers, "forget", None)
        if forget:
            forget()
        return session

    def as_last_seen(self) -> Session:
        """Give the session; registers that were read at this stop are not read again."""
        self._target = self._target or in_gdb()
        self._session.attach(replace(self._target, address_bits=address_bits()))
        self._session.symbols = _symbols(_files())
        return self._session

    @contextmanager
    def command(self) -> Iterator[Session]:
        """Give the session to a command, whose own stops are its own to describe."""
        self.busy = True
        try:
            yield self.session()
        finally:
            self.busy = False
            control = self._target and self._target.control
            if control and control.running:
                control.interrupt()

    def guest(self) -> tuple[object, ...]:
        """Tell one guest, with the symbols that gdb has, from another."""
        connection = gdb.selected_inferior().connection
        return (connection.num if connection else None, *_files())


def _files() -> tuple[str, ...]:
    return tuple(objfile.filename or "" for objfile in gdb.objfiles())


@cache
def _symbols(_of: tuple[str, ...]) -> SymbolTable:
    return symbols_in_gdb()


def _facts() -> "RunFacts":
    """Tell a capture which gdb this is."""
    from klosdbg.captures.capture import RunFacts

    return RunFacts(gdb=gdb.VERSION)


def _warn(message: str) -> None:
    gdb.write(f"klosdbg: {message}\n", gdb.STDERR)


def guarded(do: Callable[[], T]) -> T:
    """Do something whose errors gdb shows in one line."""
    try:
        return do()
    except (KlosdbgError, gdb.error) as error:
        raise gdb.GdbError(f"klosdbg: {error}") from None


HELD = Held()
