"""Models of DSOS: where the secret descriptor is, and who holds its selector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from klosdbg.klos.abi import KlosRelocation, KlosSite
from klosdbg.klos.constants import Site
from klosdbg.x86.descriptor import Descriptor
from klosdbg.x86.disasm import Instruction
from klosdbg.x86.findings import Findings, FindsFaults
from klosdbg.x86.selector import Selector

_BINS = 64


@dataclass(frozen=True, slots=True)
class SiteState:
    """A patch site: the instruction that holds the selector, decoded from live code.

    ``instruction`` is None for a plain cell. ``value`` is None, and ``why`` says why, where no
    selector can be decoded. ``agrees`` tells whether it is one that the site may hold now; None
    where a recording left its code out.
    """

    site: KlosSite
    instruction: Instruction | None
    value: int | None
    agrees: bool | None
    why: str = ""

    @property
    def bare(self) -> bool:
        """Tell the paper's own prologue, which holds DSAPP unless something needs it."""
        return self.site.kind == Site.BARE


@dataclass(frozen=True, slots=True)
class Dsos(FindsFaults):
    """Where DSOS is: its selector, its slot's linear address and descriptor, its patch sites.

    ``moving`` tells that a relocation was under way; ``until_next`` counts the absent selectors
    that are left before the next one. ``listed`` asks for every site in the text.
    """

    selector: Selector
    address: int
    descriptor: Descriptor
    relocations: int
    np_faults: int
    until_next: int
    sequence: int
    sites: tuple[SiteState, ...]
    listed: bool = False

    @property
    def moving(self) -> bool:
        """Tell whether tables and patch sites disagree for the moment."""
        return bool(self.sequence % 2)

    @property
    def wrong(self) -> tuple[SiteState, ...]:
        """The sites that do not hold what they should."""
        return tuple(site for site in self.sites if site.agrees is False)

    @property
    def unread(self) -> tuple[SiteState, ...]:
        """The sites whose code a recording left out."""
        return tuple(site for site in self.sites if site.agrees is None)

    @property
    def found_fault(self) -> bool:
        """Tell whether a site disagrees though no relocation is under way, or DSOS is absent."""
        return not self.moving and (bool(self.wrong) or not self.descriptor.present)


@dataclass(frozen=True, slots=True)
class Patched:
    """A site that a relocation rewrote: the instruction before and after, or the cell's value."""

    site: KlosSite
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Relocation:
    """One relocation from the guest's log.

    ``ticks`` of the time stamp counter passed from the start of the event's handler, or from the
    relocation before it in the same event; None where the event ring holds the event no more.
    ``patched`` is empty where the sites were not read right before and after.
    """

    entry: KlosRelocation
    cause: str
    ticks: int | None = None
    patched: tuple[Patched, ...] = ()

    @property
    def old(self) -> Selector:
        """Where DSOS was."""
        return Selector(self.entry.old_selector)

    @property
    def new(self) -> Selector:
        """Where it went."""
        return Selector(self.entry.new_selector)


@dataclass(frozen=True, slots=True)
class Relocations(FindsFaults):
    """Relocations that were asked for: how, what was written for it, and how it left the sites."""

    how: str
    wanted: int
    relocations: tuple[Relocation, ...]
    sites: tuple[SiteState, ...]
    written: tuple[str, ...]
    lost: int = 0

    @property
    def wrong(self) -> tuple[SiteState, ...]:
        """The sites that do not hold what they should."""
        return tuple(site for site in self.sites if not site.agrees)

    @property
    def found_fault(self) -> bool:
        """Tell whether a site was left behind, or fewer relocations came than were asked for."""
        return bool(self.wrong) or len(self.relocations) + self.lost < self.wanted


@dataclass(frozen=True, slots=True)
class Audited(FindsFaults):
    """The relocations of one event, and what an audit found right after it."""

    relocations: tuple[Relocation, ...]
    findings: Findings

    @property
    def found_fault(self) -> bool:
        """Tell whether anything is an error or a warning."""
        return self.findings.found_fault


@dataclass(frozen=True, slots=True)
class AuditSum(FindsFaults):
    """Relocations that were asked for, each with an audit after it: how many, what was found.

    ``faults`` counts errors and warnings; ``written`` says what was written for it.
    """

    how: str
    wanted: int
    done: int
    faults: int
    notes: int
    seconds: float
    written: tuple[str, ...]

    @classmethod
    def of(
        cls,
        how: str,
        wanted: int,
        audits: Sequence[Audited],
        seconds: float,
        written: tuple[str, ...],
    ) -> "AuditSum":
        """Add audits up."""
        found = [finding for audited in audits for finding in audited.findings.findings]
        notes = sum(finding.severity == "note" for finding in found)
        done = sum(len(audited.relocations) for audited in audits)
        return cls(how, wanted, done, len(found) - notes, notes, seconds, written)

    @property
    def found_fault(self) -> bool:
        """Tell whether an audit found a fault, or fewer relocations came than were asked for."""
        return bool(self.faults) or self.done < self.wanted


@dataclass(frozen=True, slots=True)
class WatchFrame:
    """What a watch has seen so far: ``new`` since the frame before, ``lost`` overwritten unread.

    ``slots`` counts how often each selector was DSOS's new one; ``trail`` has the last selectors,
    newest first; ``seconds`` passed on the host. ``gdt_slots`` and ``ldt_slots`` are the tables'
    sizes.
    """

    new: tuple[Relocation, ...]
    total: int
    lost: int
    seconds: float
    slots: Mapping[int, int]
    trail: tuple[int, ...]
    gdt_slots: int
    ldt_slots: int
    last: bool

    @property
    def bins(self) -> tuple[int, ...]:
        """Count the relocations into each of 64 equal parts of the GDT followed by the LDT."""
        counts = [0] * _BINS
        for raw, count in self.slots.items():
            selector = Selector(raw)
            place = selector.index + (self.gdt_slots if selector.table == "ldt" else 0)
            counts[min(place * _BINS // (self.gdt_slots + self.ldt_slots), _BINS - 1)] += count
        return tuple(counts)
