"""Hold Ctrl-C back while bytes are on their way, so that it never cuts an exchange in two."""

import signal
import threading
from types import FrameType
from typing import Any

# Where Python is embedded, the handler may be C's, which Python cannot put back.
_HANDLER_IS_FOREIGN = signal.getsignal(signal.SIGINT) is None


class _Deferral:
    """A context, of bounded duration, that delivers Ctrl-C when its outermost use has ended.

    Replacing the handler costs some microseconds: what exchanges several times enters it once.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._noted = False
        self._previous: Any = None

    def __enter__(self) -> None:
        if _applies():
            if self._depth == 0:
                self._previous = signal.signal(signal.SIGINT, self._note)
            self._depth += 1

    def __exit__(self, *_error: object) -> None:
        if not _applies():
            return
        self._depth -= 1
        if self._depth == 0:
            noted, self._noted = self._noted, False
            signal.signal(signal.SIGINT, self._previous)
            if noted:
                signal.raise_signal(signal.SIGINT)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._noted = True


interrupts_deferred = _Deferral()


def _applies() -> bool:
    return not _HANDLER_IS_FOREIGN and threading.current_thread() is threading.main_thread()
