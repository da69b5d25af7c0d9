"""The guest's log of relocations, and how long each took by its event ring."""

from bisect import bisect_right

from klosdbg.klos.abi import KlosEvent, KlosInfo, KlosRelocation
from klosdbg.klos.constants import Cause, label
from klosdbg.klos.dsos_models import Relocation
from klosdbg.klos.find import read_array, try_read
from klosdbg.ports import Target


def read_log(target: Target, info: KlosInfo, after: int) -> list[Relocation]:
    """Read the relocations with a number above ``after``, as far as the log reaches back."""
    log = read_array(target, info.relocation_log, KlosRelocation, "relocation_log")
    new = sorted((e for e in log if after < e.seq <= info.relocations), key=lambda e: e.seq)
    if not new:
        return []
    events = sorted(
        (event.time_in, event.time_out)
        for event in try_read(target, info.events, KlosEvent, "events")
        if event.seq
    )
    before = {e.seq + 1: e.time for e in log if e.seq}
    return [_relocation(entry, events, before.get(entry.seq, 0)) for entry in new]


def _relocation(entry: KlosRelocation, events: list[tuple[int, int]], before: int) -> Relocation:
    at = bisect_right(events, (entry.time, 1 << 64)) - 1
    ticks = None
    if at >= 0 and events[at][0] <= entry.time <= events[at][1]:
        ticks = entry.time - max(events[at][0], before)
    return Relocation(entry, label(Cause, entry.cause), ticks)
