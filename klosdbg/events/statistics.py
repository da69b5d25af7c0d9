"""How many events of each vector there were, and how long they took."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from klosdbg.events.event import Event, Unit


@dataclass(frozen=True, slots=True)
class VectorStatistics:
    """The events of one vector. Times are those between stub and return, in ``unit``.

    ``name`` is that of its last event; ``real``: those that hit in real mode.
    """

    vector: int
    name: str | None
    count: int
    share: float
    median: int | None
    percentile_99: int | None
    slowest: int | None
    slowest_seq: int | None
    real: bool = False


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """Statistics of a recording, most frequent vector first; ``perturbed``: by its own stops."""

    vectors: tuple[VectorStatistics, ...]
    total: int
    unit: Unit | None
    perturbed: bool
    incomplete: int


def statistics(events: Sequence[Event]) -> EventStatistics:
    """Count events by vector, and order the times that they took."""
    groups: dict[tuple[int, bool], list[Event]] = defaultdict(list)
    for event in events:
        groups[event.vector, event.real].append(event)
    rows = [_row(*key, group, len(events)) for key, group in groups.items()]
    rows.sort(key=lambda row: (-row.count, row.vector))
    return EventStatistics(
        vectors=tuple(rows),
        total=len(events),
        unit=events[0].time.unit if events else None,
        perturbed=any(event.time.perturbed for event in events),
        incomplete=sum(not event.complete for event in events),
    )


def _row(vector: int, real: bool, group: list[Event], total: int) -> VectorStatistics:
    timed = sorted(_timed(group))
    slowest, seq = timed[-1] if timed else (None, None)
    times = [taken for taken, _ in timed]
    return VectorStatistics(
        vector,
        group[-1].name,
        len(group),
        len(group) / total,
        _percentile(times, 50),
        _percentile(times, 99),
        slowest,
        seq,
        real,
    )


def _timed(group: Iterable[Event]) -> Iterable[tuple[int, int]]:
    for event in group:
        parts = [part for part in (event.spent.stub, event.spent.handler) if part is not None]
        if parts:
            yield sum(parts), event.seq


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
