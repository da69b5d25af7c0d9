"""Where DSOS is now, and what every prologue's immediate says, decoded from the live code."""

from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosInfo, KlosSite
from klosdbg.klos.constants import Site
from klosdbg.klos.dsos_models import Dsos, SiteState
from klosdbg.klos.find import booted_klos, read_array
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_selector
from klosdbg.x86.descriptor import Empty
from klosdbg.x86.disasm import Instruction, disassemble
from klosdbg.x86.selector import Selector

ABSENT_BEFORE_MOVE = 3
_LONGEST = 15
_WIDTHS = (2, 4)


def read_dsos(target: Target, symbols: Symbols | None, listed: bool = False) -> Dsos:
    """Read where DSOS is; ``CommandError`` where this KLOS has none."""
    info = booted_klos(target, symbols).info
    selector = Selector(info.dsos)
    found = read_selector(target, info.dsos)
    if selector.null or found.address is None:
        why = found.why or "the selector is null"
        raise CommandError(f"no DSOS: klos_info.dsos is {info.dsos:#06x}: {why} (see 'klos')")
    return Dsos(
        selector=selector,
        address=found.address,
        descriptor=found.descriptor or Empty(bytes(8)),
        relocations=info.relocations,
        np_faults=info.np_faults,
        until_next=ABSENT_BEFORE_MOVE - info.np_faults % ABSENT_BEFORE_MOVE,
        sequence=info.sequence,
        sites=read_sites(target, info),
        listed=listed,
    )


def read_sites(target: Target, info: KlosInfo) -> tuple[SiteState, ...]:
    """Decode every patch site from the live code, and compare it with ``klos_info``."""
    sites = read_array(target, info.sites, KlosSite, "sites")
    code = target.linear.read_many([_place(site) for site in sites])
    return tuple(
        _unread(site, target.left_out) if raw is None else _site(site, raw, info)
        for site, raw in zip(sites, code, strict=True)
    )


def _unread(site: KlosSite, left_out: str) -> SiteState:
    """Judge a site without its code, unless it may only be that a recording left it out."""
    agrees = None if left_out else False
    return SiteState(site, None, None, agrees, left_out or "it is not mapped")


def _place(site: KlosSite) -> tuple[int, int]:
    if _is_cell(site):
        return site.immediate, site.width if site.width in _WIDTHS else 1
    return site.start, _LONGEST


def _is_cell(site: KlosSite) -> bool:
    return site.start == 0


def _site(site: KlosSite, raw: bytes, info: KlosInfo) -> SiteState:
    if site.width not in _WIDTHS:
        return SiteState(site, None, None, False, f"its width is {site.width}, neither 2 nor 4")
    if _is_cell(site):
        return _compared(site, None, int.from_bytes(raw, "little"), info)
    instruction = disassemble(raw, site.start, 32, 1)[0]
    if not holds_immediate(site, instruction):
        return SiteState(site, instruction, None, False, "no selector is loaded there")
    value = int.from_bytes(instruction.raw[-site.width :], "little")
    return _compared(site, instruction, value, info)


def holds_immediate(site: KlosSite, instruction: Instruction) -> bool:
    """Tell whether an instruction loads the immediate at the place that the site names."""
    ends = instruction.address + instruction.size == site.immediate + site.width
    return ends and instruction.mnemonic == "mov" and not instruction.operands.endswith("]")


def _compared(
    site: KlosSite, instruction: Instruction | None, value: int, info: KlosInfo
) -> SiteState:
    allowed = (info.dsos, info.dsapp) if site.kind == Site.BARE else (info.dsos,)
    why = "" if value in allowed else f"it should hold {info.dsos:#06x}"
    return SiteState(site, instruction, value, not why, why)
