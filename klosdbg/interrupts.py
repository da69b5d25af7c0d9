"""Hold Ctrl-C back while something is done that it must not cut in two, such as an exchange."""

import signal
import threading

# The module signal's own wraps each handler in an enumeration: that costs more than an exchange.
from _signal import getsignal  # type: ignore[import-not-found]
from types import FrameType
from typing import Any

# Where Python is embedded, the handler may be C's, which Python cannot put back.
_HANDLER_IS_FOREIGN = signal.getsignal(signal.SIGINT) is None
_MAIN = threading.main_thread().ident


class _Deferral:
    """A context, of bounded duration, that delivers Ctrl-C when its outermost use has ended.

    In place of Python's own handler, ours stays, since replacing it costs more than an exchange;
    outside of the context it does the same. Anybody else's is put back: a line editor has one of
    its own while it reads a line, and then puts back what it found.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._noted = False
        self._others: Any = None
        self._ours = self._handle

    def __enter__(self) -> None:
        if _applies():
            if self._depth == 0 and (found := getsignal(signal.SIGINT)) is not self._ours:
                self._others = None if found is signal.default_int_handler else found
                signal.signal(signal.SIGINT, self._ours)
            self._depth += 1

    def __exit__(self, *_error: object) -> None:
        if not _applies():
            return
        self._depth -= 1
        if self._depth == 0:
            if self._others is not None:
                signal.signal(signal.SIGINT, self._others)
                self._others = None
            if self._noted:
                self._noted = False
                signal.raise_signal(signal.SIGINT)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._noted = True
        else:
            signal.default_int_handler(number, frame)


interrupts_deferred = _Deferral()


def _applies() -> bool:
    return not _HANDLER_IS_FOREIGN and threading.get_ident() == _MAIN
