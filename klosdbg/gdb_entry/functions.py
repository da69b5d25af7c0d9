"""Convenience functions: ``$klos_sel(SELECTOR)`` and ``$klos_lin("ADDRESS")`` in any expression."""

import gdb

from klosdbg.errors import CommandError
from klosdbg.gdb_entry.gdb_session import HELD, guarded
from klosdbg.read import read_selector, resolve_linear
from klosdbg.session import Session
from klosdbg.x86.descriptor import Segment, SystemSegment


def register() -> None:
    """Declare the functions."""
    _SelectorBase("klos_sel")
    _LinearAddress("klos_lin")


class _SelectorBase(gdb.Function):  # type: ignore[misc]
    """$klos_sel(SELECTOR): the linear base of the segment that a selector names."""

    def invoke(self, selector: gdb.Value) -> int:
        """Follow the selector to its descriptor in the live tables."""
        return guarded(lambda: _base(HELD.session(), int(selector)))


class _LinearAddress(gdb.Function):  # type: ignore[misc]
    """$klos_lin("ADDRESS"): the linear address of sel:off, symbol+n or a register."""

    def invoke(self, wanted: gdb.Value) -> int:
        """Resolve as every command of klosdbg does."""
        session = HELD.session()
        return guarded(lambda: resolve_linear(session.target, session.symbols, wanted.string()))


def _base(session: Session, selector: int) -> int:
    info = read_selector(session.target, selector)
    if info.paragraph:
        return selector << 4
    if not isinstance(info.descriptor, Segment | SystemSegment):
        raise CommandError(f"{selector:#x} names no segment: 'klos sel {selector:#x}' says what")
    return info.descriptor.base
