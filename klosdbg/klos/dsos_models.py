"""Models of DSOS: where the secret descriptor is, and who holds its selector."""

from dataclasses import dataclass

from klosdbg.klos.abi import KlosSite
from klosdbg.klos.constants import Site
from klosdbg.x86.descriptor import Descriptor
from klosdbg.x86.disasm import Instruction
from klosdbg.x86.selector import Selector


@dataclass(frozen=True, slots=True)
class SiteState:
    """A patch site: the instruction that holds the selector, decoded from live code.

    ``instruction`` is None for a plain cell. ``value`` is None, and ``why`` says why, where no
    selector can be decoded. ``agrees`` tells whether it is one that the site may hold now.
    """

    site: KlosSite
    instruction: Instruction | None
    value: int | None
    agrees: bool
    why: str = ""

    @property
    def bare(self) -> bool:
        """Tell the paper's own prologue, which holds DSAPP unless something needs it."""
        return self.site.kind == Site.BARE


@dataclass(frozen=True, slots=True)
class Dsos:
    """Where DSOS is: its selector, its slot's linear address and descriptor, its patch sites.

    ``moving`` tells that a relocation was under way; ``until_next`` counts the absent selectors
    that are left before the next one.
    """

    selector: Selector
    address: int
    descriptor: Descriptor
    relocations: int
    np_faults: int
    until_next: int
    sequence: int
    sites: tuple[SiteState, ...]

    @property
    def moving(self) -> bool:
        """Tell whether tables and patch sites disagree for the moment."""
        return bool(self.sequence % 2)

    @property
    def wrong(self) -> tuple[SiteState, ...]:
        """The sites that do not hold what they should."""
        return tuple(site for site in self.sites if not site.agrees)

    @property
    def found_fault(self) -> bool:
        """Tell whether a site disagrees though no relocation is under way, or DSOS is absent."""
        return not self.moving and (bool(self.wrong) or not self.descriptor.present)
