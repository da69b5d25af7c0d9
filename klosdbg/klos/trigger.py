"""Making the running guest relocate DSOS: by real faults, by the mailbox, by calling it. Writes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from klosdbg.errors import CommandError
from klosdbg.klos.dsos import ABSENT_BEFORE_MOVE, read_sites
from klosdbg.klos.dsos_models import Patched, Relocation, Relocations, SiteState
from klosdbg.klos.find import booted_klos
from klosdbg.klos.inferior import call_relocate
from klosdbg.klos.mailbox import ask
from klosdbg.klos.models import MailboxAnswer
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

    def relocate(self, how: How, wanted: int) -> Relocations:
        """Make DSOS move ``wanted`` times; few are watched one by one, many in batches."""
        found: list[Relocation] = []
        written: dict[str, None] = {}
        lost = 0
        for count in _batches(wanted):
            batch, said, missing = self._batch(how, count)
            found += batch
            written |= dict.fromkeys(said)
            lost += missing
        sites = read_sites(self.target, booted_klos(self.target, self.symbols).info)
        return Relocations(how, wanted, tuple(found), sites, tuple(written), lost)

    def _batch(self, how: How, count: int) -> tuple[list[Relocation], tuple[str, ...], int]:
        info = booted_klos(self.target, self.symbols).info
        sites = read_sites(self.target, info)
        said = _WAYS[how](self, count)
        after = booted_klos(self.target, self.symbols).info
        found = read_log(self.target, after, info.relocations)
        if len(found) == 1:
            found = [replace(found[0], patched=patched(sites, read_sites(self.target, after)))]
        return found, said, after.relocations - info.relocations - len(found)

    def probe(self, count: int) -> tuple[str, ...]:
        """Let an application load as many absent selectors as it takes."""
        info = booted_klos(self.target, self.symbols).info
        absent = ABSENT_BEFORE_MOVE * count - info.np_faults % ABSENT_BEFORE_MOVE
        return self._ask("touch", absent)

    def mailbox(self, count: int) -> tuple[str, ...]:
        """Ask the guest to relocate."""
        return self._ask("relocate", count)

    def call(self, count: int) -> tuple[str, ...]:
        """Call the guest's relocation from where that is safe."""
        return call_relocate(self.target, self.symbols, count, self.timeout)

    def _ask(self, command: str, argument: int) -> tuple[str, ...]:
        answer = ask(self.target, self.symbols, command, argument, self.timeout)
        if answer.failure:
            raise CommandError(answer.failure)
        return tuple(_written(answer))


_WAYS: dict[How, Callable[[Trigger, int], tuple[str, ...]]] = {
    "probe": Trigger.probe,
    "mailbox": Trigger.mailbox,
    "call": Trigger.call,
}


def _batches(wanted: int) -> Iterator[int]:
    if wanted <= ONE_BY_ONE:
        yield from [1] * wanted
        return
    for start in range(0, wanted, _BATCH):
        yield min(_BATCH, wanted - start)


def _written(answer: MailboxAnswer) -> Iterator[str]:
    for change in answer.changes:
        yield f"{change.field} at {change.address:#010x}: {change.after}"


def patched(before: tuple[SiteState, ...], after: tuple[SiteState, ...]) -> tuple[Patched, ...]:
    """Pair the sites that changed."""
    pairs = zip(before, after, strict=True)
    return tuple(Patched(b.site, _shown(b), _shown(a)) for b, a in pairs if b.value != a.value)


def _shown(state: SiteState) -> str:
    if state.instruction is not None:
        return str(state.instruction)
    return "?" if state.value is None else f"{state.value:#06x}"
