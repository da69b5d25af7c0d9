"""Which events somebody wants to see."""

from dataclasses import dataclass

from klosdbg.events.event import Event
from klosdbg.events.expression import Expression


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event has to be; a field that is None or empty asks for nothing.

    ``process`` is a name or a pid. ``addresses`` is a range of linear addresses, both ends
    included, that it hit in. ``errors``: exceptions only.
    """

    vectors: frozenset[int] = frozenset()
    process: str | None = None
    handler: int | None = None
    addresses: tuple[int, int] | None = None
    cpl: int | None = None
    errors: bool = False
    condition: Expression | None = None

    def wants(self, event: Event) -> bool:
        """Tell whether an event passes."""
        return (
            (not self.vectors or event.vector in self.vectors)
            and (self.process is None or self.process in (event.process, str(event.pid)))
            and (self.handler is None or event.handler == self.handler)
            and (self.cpl is None or event.source.cpl == self.cpl)
            and (not self.errors or is_error(event))
            and self._in_range(event)
            and (self.condition is None or self.condition.holds(event))
        )

    def _in_range(self, event: Event) -> bool:
        if self.addresses is None:
            return True
        first, last = self.addresses
        return first <= event.source.linear <= last


def is_error(event: Event) -> bool:
    """Tell whether an event is an exception, and no breakpoint or single step."""
    return event.vector < 32 and event.vector not in (1, 2, 3)
