"""The guest's log of relocations, and how long each took by its event ring."""

from bisect import bisect_right

from klosdbg.errors import KlosdbgError
from klosdbg.klos.abi import KlosEvent, KlosInfo, KlosRelocation
from klosdbg.klos.constants import Cause, label
from klosdbg.klos.dsos_models import Relocation
from klosdbg.klos.find import read_columns
from klosdbg.klos.layout import members
from klosdbg.ports import Target

_FIELDS = tuple(member.name for member in members(KlosRelocation))


def read_log(target: Target, info: KlosInfo, after: int) -> list[Relocation]:
    """Read the relocations with a number above ``after``, as far as the log reaches back.

    In a guest that runs, also those that it has made since ``info`` was read: the log may have gone
    round meanwhile.
    """
    log = read_columns(target, info.relocation_log, KlosRelocation, "relocation_log", *_FIELDS)
    new = [KlosRelocation(*row) for row in sorted(log) if row[0] > after]
    if not new:
        return []
    events = _events(target, info, new[0].time)
    before = {seq + 1: time for seq, *_, time in log}
    return [_relocation(entry, events, before.get(entry.seq, 0)) for entry in new]


def _events(target: Target, info: KlosInfo, since: int) -> list[tuple[int, int]]:
    """Give start and end of each handler that ended since, as far as the ring goes, in order."""
    wanted = ("seq", "time_in", "time_out")
    try:
        events = read_columns(target, info.events, KlosEvent, "events", *wanted)
    except KlosdbgError:
        return []
    return sorted((began, ended) for seq, began, ended in events if seq and ended >= since)


def _relocation(entry: KlosRelocation, events: list[tuple[int, int]], before: int) -> Relocation:
    at = bisect_right(events, (entry.time, 1 << 64)) - 1
    ticks = None
    if at >= 0 and events[at][0] <= entry.time <= events[at][1]:
        ticks = entry.time - max(events[at][0], before)
    return Relocation(entry, label(Cause, entry.cause), ticks)
