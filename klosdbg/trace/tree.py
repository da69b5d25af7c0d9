"""Events inside the events that they interrupted."""

from collections.abc import Iterable
from dataclasses import dataclass

from klosdbg.trace.event import Event


@dataclass(frozen=True, slots=True)
class EventTree:
    """An event and those that came while it was handled."""

    event: Event
    nested: tuple["EventTree", ...] = ()


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
