"""Models of recording events: how a recording went, and why it ended."""

from dataclasses import dataclass
from typing import Literal

from klosdbg.events.event import Recorder
from klosdbg.models import MayFail, Stop

End = Literal["running", "limit", "asked", "stop", "time-out", "interrupt"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a recording went: events kept and seen, those lost, seconds, stops, and why it ended.

    What came after the last that was asked for is not looked at. ``left_out`` counts what Ctrl-C
    kept from being looked at.
    """

    kept: int
    seen: int
    lost: int
    seconds: float
    stops: int
    recorder: Recorder
    end: End
    left_out: int = 0

    @property
    def rate(self) -> float:
        """Events seen a second."""
        return self.seen / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finished(MayFail):
    """A finished recording; ``stop`` is where something else stopped the guest.

    ``failure`` says why there are fewer events than were asked for.
    """

    recorded: Recorded
    stop: Stop | None = None
    failure: str | None = None
