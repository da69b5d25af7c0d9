"""Run control that many share: a wait goes on serving the others, and each stop is noticed."""

import time
from typing import Protocol

from klosdbg.errors import TargetTimeout
from klosdbg.ports import Reverse, RunControl, StopEvent

_TURN = 0.02
_INTERRUPTED = StopEvent("interrupt", 2)


class Sharers(Protocol):
    """Who shares the control."""

    @property
    def interrupted(self) -> bool:
        """Tell whether the one that lets the guest run has asked for a stop."""

    def serve(self, seconds: float) -> None:
        """Serve everybody, for at most so long."""

    def is_quiet(self, event: StopEvent) -> bool:
        """Tell whether a new stop is nobody's; recorders are told of it."""


class SharedControl:
    """The target's run control. ``moved`` tells that the guest has run since ``take_stop``.

    A wait serves the sharers again and again, so that one client's ``monitor klos until`` holds
    nobody up. A stop that is nobody's is no stop: the guest runs on.
    """

    def __init__(self, control: RunControl, sharers: Sharers) -> None:
        self._control = control
        self._sharers = sharers
        self.moved = False
        self._is_new = False

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""
        return self._control.running

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""
        self.moved = self._is_new = True
        self._control.resume()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop, serving the clients; ``TargetTimeout`` as the port says."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (event := self._stop()) is None:
            left = _TURN if deadline is None else deadline - time.monotonic()
            if left < 0:
                raise TargetTimeout(f"the guest still runs after {timeout:g} s")
            self._sharers.serve(min(left, _TURN))
        return event

    def _stop(self) -> StopEvent | None:
        """Return the stop that is somebody's; None while the guest runs, or runs on."""
        if self._control.running:
            return None
        event = self._control.wait(0)
        is_new, self._is_new = self._is_new, False
        if not is_new or not self._sharers.is_quiet(event):
            return event
        if self._sharers.interrupted:
            return _INTERRUPTED
        self.resume()
        return None

    def step(self) -> StopEvent:
        """Execute one instruction."""
        self.moved = self._is_new = True
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
        event = self._stop() if self.moved else None
        if event is not None:
            self.moved = False
        return event


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
