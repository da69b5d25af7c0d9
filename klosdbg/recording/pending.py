"""An event that is under way."""

from dataclasses import dataclass, replace
from typing import Any

from klosdbg.events.event import Event


@dataclass(frozen=True, slots=True)
class Pending:
    """An event under way: the linear address of its frame, when it was seen (host ns), and CR3."""

    frame: int
    event: Event
    since: int
    cr3: int = 0

    def finished(self, **ends: Any) -> Event:
        """Make the whole event of what its end tells."""
        return replace(self.event, **ends)
