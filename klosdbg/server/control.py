"""Run control that many share: a wait goes on serving the others, and each stop is noticed."""

import time
from collections.abc import Callable

from klosdbg.errors import TargetTimeout
from klosdbg.ports import Reverse, RunControl, StopEvent

_TURN = 0.02


class SharedControl:
    """The target's run control. ``moved`` tells that the guest has run since ``take_stop``.

    ``serve`` serves the clients for at most so many seconds; ``wait`` calls it again and again, so
    that one client's ``monitor klos until`` holds nobody up.
    """

    def __init__(self, control: RunControl, serve: Callable[[float], None]) -> None:
        self._control = control
        self._serve = serve
        self.moved = False

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""
        return self._control.running

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""
        self.moved = True
        self._control.resume()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop, serving the clients; ``TargetTimeout`` as the port says."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._control.running:
            left = _TURN if deadline is None else deadline - time.monotonic()
            if left < 0:
                raise TargetTimeout(f"the guest still runs after {timeout:g} s")
            self._serve(min(left, _TURN))
        return self._control.wait(0)

    def step(self) -> StopEvent:
        """Execute one instruction."""
        self.moved = True
        return self._control.step()

    def interrupt(self) -> StopEvent:
        """Stop a running guest."""
        return self._control.interrupt()

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""
        self._control.insert(address)

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint."""
        self._control.remove(address)

    def reset(self) -> StopEvent:
        """Reset the machine and stop at its first instruction."""
        self.moved = True
        return self._control.reset()

    def take_stop(self) -> StopEvent | None:
        """Return the stop that ended the last run, once; None while there is nothing new."""
        if not self.moved or self._control.running:
            return None
        self.moved = False
        return self._control.wait(0)


class SharedReverse:
    """Running backwards, noticed as ``SharedControl`` notices a run."""

    def __init__(self, reverse: Reverse, control: SharedControl) -> None:
        self._reverse = reverse
        self._control = control

    def step_back(self) -> StopEvent:
        """Go back one instruction."""
        self._control.moved = True
        return self._reverse.step_back()

    def resume_back(self) -> None:
        """Run backwards to a breakpoint, or to where the recording began."""
        self._control.moved = True
        self._reverse.resume_back()

    def back_to_write(self, address: int, size: int) -> StopEvent:
        """Run backwards to the last write to a linear address."""
        self._control.moved = True
        return self._reverse.back_to_write(address, size)
