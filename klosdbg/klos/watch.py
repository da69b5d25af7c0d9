"""Watching relocations through the guest's log, while it runs at full speed."""

import math
import time
from collections import Counter
from collections.abc import Iterator

from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.dsos_models import Relocation, WatchFrame
from klosdbg.klos.find import booted_klos, read_one
from klosdbg.klos.relocation_log import read_log
from klosdbg.ports import RunControl, StopEvent, Symbols, Target

_INTERVAL = 0.1
_HURRIED = 0.005
_BUSY = 1 / 64
_SLOT = 8
_MOST_SLOTS = 8192


def watch_frames(
    target: Target, symbols: Symbols | None, wanted: int | None, timeout: float | None
) -> Iterator[WatchFrame]:
    """Yield a picture of the relocations so far, each time that some have come.

    A stopped guest is let run, and stopped again at the end. Ends after ``wanted`` relocations, or
    when the guest stops. ``CommandError`` where ``timeout`` seconds do not bring as many.
    """
    control = target.control
    if control is None:
        raise CommandError(f"{target.name} cannot run: it is a recording, 'dsos' shows its DSOS")
    klos = booted_klos(target, symbols)
    watcher = _Watcher(target, klos.address, klos.info, wanted)
    ran = control.running
    if not ran:
        control.resume()
    try:
        yield from watcher.frames(control, timeout)
    finally:
        if not ran and control.running:
            control.interrupt()


def relocations_of(frames: Iterator[WatchFrame]) -> Iterator[Relocation]:
    """Take the relocations one by one out of the pictures."""
    for frame in frames:
        yield from frame.new


class _Watcher:
    def __init__(self, target: Target, address: int, info: KlosInfo, wanted: int | None) -> None:
        self._target, self._address, self._info = target, address, info
        self._wanted = wanted
        self._first = self._seen = info.relocations
        self._lost = self._shown = 0
        self._interval = _HURRIED
        self._slots: Counter[int] = Counter()
        self._trail: list[int] = [info.dsos]
        self._began = time.monotonic()

    def frames(self, control: RunControl, timeout: float | None) -> Iterator[WatchFrame]:
        """Poll until there were enough, or the guest stops."""
        ends = self._began + (timeout or math.inf)
        yield self._frame(())
        while True:
            stop = _wait(control, self._interval)
            new = self._poll()
            if new:
                yield self._frame(new)
            if self._enough or stop is not None:
                return
            if time.monotonic() > ends:
                raise CommandError(self._too_few(timeout))

    @property
    def _enough(self) -> bool:
        return self._wanted is not None and self._shown >= self._wanted

    def _too_few(self, timeout: float | None) -> str:
        wanted = "" if self._wanted is None else f" of {self._wanted}"
        return (
            f"{self._seen - self._first}{wanted} relocations within {timeout:g} s "
            "(--events N ends the watch, 'mailbox start touch 99999' lets DSOS move)"
        )

    def _poll(self) -> tuple[Relocation, ...]:
        info = read_one(self._target, self._address, KlosInfo)
        new = read_log(self._target, info, self._seen)
        newest = new[-1].entry.seq if new else info.relocations
        came = newest - self._seen
        self._interval = _HURRIED if came > _BUSY * info.relocation_log.count else _INTERVAL
        self._lost += came - len(new)
        self._seen = newest
        self._slots.update(r.entry.new_selector for r in new)
        self._trail += [r.entry.new_selector for r in new]
        del self._trail[:-9]
        left = None if self._wanted is None else self._wanted - self._shown
        self._shown += len(new[:left])
        return tuple(new[:left])

    def _frame(self, new: tuple[Relocation, ...]) -> WatchFrame:
        return WatchFrame(
            new=new,
            total=self._seen - self._first,
            lost=self._lost,
            seconds=time.monotonic() - self._began,
            slots=dict(self._slots),
            trail=tuple(reversed(self._trail)),
            gdt_slots=_slots(self._info.gdt_limit),
            ldt_slots=_slots(self._info.ldt_limit),
            last=self._enough,
        )


def _slots(limit: int) -> int:
    """Give the size of a table with this limit; the largest where no selector fits."""
    return min((limit + 1) // _SLOT, _MOST_SLOTS) or _MOST_SLOTS


def _wait(control: RunControl, seconds: float) -> StopEvent | None:
    try:
        return control.wait(seconds)
    except TargetTimeout:
        return None
