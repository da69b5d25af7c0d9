"""Events inside the events that they interrupted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from klosdbg.events.event import Event


@dataclass(frozen=True, slots=True)
class EventTree:
    """An event and those that came while it was handled."""

    event: Event
    nested: tuple["EventTree", ...] = ()


@dataclass(frozen=True, slots=True)
class EventHeading:
    """What stands over events that are shown a line each, and the room that they all need."""

    last: int = 999
    deepest: int = 1
    errors: bool = True
    process: int = 8


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as one line under its heading."""

    event: Event
    heading: EventHeading


@dataclass(frozen=True, slots=True)
class RecordingHeading:
    """What stands over the events of one of several recordings, which are numbered anew."""

    number: int


Shown = EventTree | EventHeading | EventRow


def by_recording(
    events: Iterable[Event], shown: Callable[[Sequence[Event]], Iterable[Shown]]
) -> Iterator[RecordingHeading | Shown]:
    """Show recording after recording, each under its number where there are several."""
    recordings = [list(run) for _, run in groupby(events, key=lambda event: event.recording)]
    for recording in recordings:
        if len(recordings) > 1:
            yield RecordingHeading(recording[0].recording)
        yield from shown(recording)


def event_rows(events: Sequence[Event]) -> Iterator[EventHeading | EventRow]:
    """Put a heading over events; nothing where there are none."""
    if not events:
        return
    heading = EventHeading(
        last=max(event.seq for event in events),
        deepest=max(event.depth for event in events),
        errors=any(event.error or event.cr2 is not None for event in events),
        process=max(len(event.process or "") for event in events),
    )
    yield heading
    yield from (EventRow(event, heading) for event in events)


def event_trees(events: Iterable[Event]) -> list[EventTree]:
    """Put each event under the last one before it that is less deep; order is that of ``seq``."""
    roots: list[_Node] = []
    path: list[_Node] = []
    for event in events:
        node = _Node(event)
        while path and path[-1].event.depth >= event.depth:
            path.pop()
        (path[-1].nested if path else roots).append(node)
        path.append(node)
    return [_tree(node) for node in roots]


class _Node:
    def __init__(self, event: Event) -> None:
        self.event = event
        self.nested: list[_Node] = []


def _tree(node: _Node) -> EventTree:
    return EventTree(node.event, tuple(map(_tree, node.nested)))
