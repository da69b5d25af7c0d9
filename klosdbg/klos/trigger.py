"""Making the running guest relocate DSOS: by real faults, by the mailbox, by calling it. Writes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosInfo
from klosdbg.klos.dsos import ABSENT_BEFORE_MOVE, read_sites
from klosdbg.klos.dsos_models import Patched, Relocation, Relocations, SiteState
from klosdbg.klos.find import booted_klos
from klosdbg.klos.inferior import call_relocate
from klosdbg.klos.mailbox import Posted, post
from klosdbg.klos.models import Change
from klosdbg.klos.relocation_log import read_log
from klosdbg.ports import Symbols, Target

How = Literal["probe", "mailbox", "call"]
WAYS: tuple[How, ...] = ("probe", "mailbox", "call")
ONE_BY_ONE = 8
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Trigger:
    """Whom to ask: a stopped guest that answers its mailbox; ``timeout`` in seconds bounds each."""

    target: Target
    symbols: Symbols | None
    timeout: float | None

    def relocate(
        self, how: How, wanted: int, progress: Callable[[str], None]
    ) -> Iterator[Relocations]:
        """Make DSOS move ``wanted`` times; few are watched one by one, many in batches.

        Yields one model. Ctrl-C ends it with what was done so far, and is raised again.
        """
        done = _Done(how, wanted)
        try:
            for count in _batches(wanted):
                self._batch(done, count)
                if wanted > ONE_BY_ONE:
                    progress(f"{len(done.found) + done.lost} of {wanted} relocations")
        except KeyboardInterrupt:
            yield self._result(done)
            raise
        yield self._result(done)

    def _result(self, done: "_Done") -> Relocations:
        sites = read_sites(self.target, self._info())
        found, written = tuple(done.found), tuple(done.written)
        return Relocations(done.how, done.wanted, found, sites, written, done.lost)

    def _batch(self, done: "_Done", count: int) -> None:
        info = self._info()
        sites = read_sites(self.target, info)
        try:
            done.written |= dict.fromkeys(_WAYS[done.how](self, count))
        finally:
            after = self._info()
            found = read_log(self.target, after, info.relocations)
            if len(found) == 1:
                found = [replace(found[0], patched=patched(sites, read_sites(self.target, after)))]
            done.found += found
            done.lost += after.relocations - info.relocations - len(found)

    def probe(self, count: int) -> tuple[str, ...]:
        """Let an application load as many absent selectors as it takes."""
        return self._answered(self.post_probe(count))

    def mailbox(self, count: int) -> tuple[str, ...]:
        """Ask the guest to relocate."""
        return self._answered(self.post_relocate(count))

    def call(self, count: int) -> tuple[str, ...]:
        """Call the guest's relocation from where that is safe."""
        return call_relocate(self.target, self.symbols, count, self.timeout)

    def post_probe(self, count: int) -> Posted:
        """Ask for an application that loads as many absent selectors as it takes."""
        absent = ABSENT_BEFORE_MOVE * count - self._info().np_faults % ABSENT_BEFORE_MOVE
        return post(self.target, self.symbols, "touch", absent)

    def post_relocate(self, count: int) -> Posted:
        """Ask for relocations."""
        return post(self.target, self.symbols, "relocate", count)

    def _info(self) -> KlosInfo:
        return booted_klos(self.target, self.symbols).info

    def _answered(self, posted: Posted) -> tuple[str, ...]:
        answer = posted.answer(self.timeout)
        if answer.failure:
            raise CommandError(answer.failure)
        return written_for(posted.changes)


_WAYS: dict[How, Callable[[Trigger, int], tuple[str, ...]]] = {
    "probe": Trigger.probe,
    "mailbox": Trigger.mailbox,
    "call": Trigger.call,
}


@dataclass(slots=True)
class _Done:
    how: How
    wanted: int
    found: list[Relocation] = field(default_factory=list)
    lost: int = 0
    written: dict[str, None] = field(default_factory=dict)


def _batches(wanted: int) -> Iterator[int]:
    if wanted <= ONE_BY_ONE:
        yield from [1] * wanted
        return
    for start in range(0, wanted, _BATCH):
        yield min(_BATCH, wanted - start)


def written_for(changes: Iterable[Change]) -> tuple[str, ...]:
    """Say in words what was written to the mailbox."""
    return tuple(f"{change.field} at {change.address:#010x}: {change.after}" for change in changes)


def patched(before: tuple[SiteState, ...], after: tuple[SiteState, ...]) -> tuple[Patched, ...]:
    """Pair the sites that changed."""
    pairs = zip(before, after, strict=True)
    return tuple(Patched(b.site, _shown(b), _shown(a)) for b, a in pairs if b.value != a.value)


def _shown(state: SiteState) -> str:
    if state.instruction is not None:
        return str(state.instruction)
    return "?" if state.value is None else f"{state.value:#06x}"
