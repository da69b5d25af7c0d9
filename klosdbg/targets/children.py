"""Child processes that cannot outlive us."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dies_with(parent: int) -> Callable[[], None]:
    """Return a ``preexec_fn`` that has the kernel kill the child when its parent thread ends."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_for_death() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask_for_death
