"""Who holds DSOS: patch sites, segment registers, saved contexts, applications' registers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from klosdbg.klos.audit.facts import CHANCE, RPL, AuditFacts, Context
from klosdbg.klos.dsos import read_sites
from klosdbg.klos.dsos_models import SiteState
from klosdbg.x86.findings import Finding
from klosdbg.x86.selector import Selector

_SEGMENTS = ("ds", "es", "fs", "gs", "ss")
_GENERAL = ("eax", "ecx", "edx", "ebx", "ebp", "esi", "edi")
_WORKING = "a handler runs, and may still be writing it"
_DATA_LIMIT = "the hidden part reaches OS memory, whatever the descriptor in memory says"


def check_sites(facts: AuditFacts) -> Iterator[Finding]:
    """Check that every patch site holds DSOS, those of the benchmark DSOS or DSAPP."""
    sites = read_sites(facts.target, facts.info)
    yield from (_wrong_site(facts, site) for site in sites if site.agrees is False)
    yield from _unread(facts, sum(site.agrees is None for site in sites), len(sites))
    yield from _bare(facts, [site for site in sites if site.bare and site.agrees])
    yield from _prologues(facts, sites)


def _unread(facts: AuditFacts, count: int, sites: int) -> Iterator[Finding]:
    if count:
        text = f"{count} of {sites} are not compared: {facts.target.left_out}"
        yield Finding("not-checked", "note", "prologues", text)


def _wrong_site(facts: AuditFacts, state: SiteState) -> Finding:
    where = f"site {state.site.name} at {state.site.immediate:#010x}"
    if state.value is None:
        shown = f"{state.instruction}" if state.instruction else "nothing"
        text = f"the prologue does not match, {state.why}: {shown}"
        return Finding("prologue-mismatch", "error", where, text)
    text = f"holds {state.value:#06x}, and DSOS is {facts.info.dsos:#06x}"
    if state.value in facts.old:
        text += f": DSOS until relocation {facts.old[state.value]}"
        return Finding("site-stale", "error", where, text)
    return Finding("site-wrong", "error", where, text)


def _bare(facts: AuditFacts, sites: list[SiteState]) -> Iterator[Finding]:
    opened = [site for site in sites if site.value == facts.info.dsos]
    if not opened:
        return
    name = f"site {opened[0].site.name} at {opened[0].site.immediate:#010x}"
    if len(opened) < len(sites):
        text = f"{len(opened)} of {len(sites)} of the benchmark's prologues hold DSOS, not all"
        yield Finding("bare-mixed", "error", name, text)
    else:
        text = "the benchmark's prologues hold DSOS: it runs, or the attack on them"
        yield Finding("bare-open", "note", name, text)


def _prologues(facts: AuditFacts, sites: tuple[SiteState, ...]) -> Iterator[Finding]:
    """Look for contexts inside a prologue that loaded an old immediate and has not used it."""
    own = {"eip": facts.cpu.eip, "eax": facts.cpu.gpr["eax"]}
    places = [(c.where, c.frame.eip, c.frame.eax) for c in facts.contexts]
    for where, eip, eax in [("the processor", own["eip"], own["eax"]), *places]:
        inside = (s.site for s in sites if s.site.start < eip < s.site.loaded)
        site = next(inside, None)
        if site and eax in facts.old:
            text = f"stands in prologue {site.name} with the old selector {eax:#06x} in EAX"
            yield Finding("stale-in-prologue", "error", where, text)


def check_processor(facts: AuditFacts) -> Iterator[Finding]:
    """Check what the processor holds now."""
    cpu = facts.cpu
    selectors = {name: cpu.segments[name].selector for name in _SEGMENTS}
    if cpu.cpl == 0:
        core = facts.info.core_data
        selectors = {name: s for name, s in selectors.items() if s & ~RPL != core & ~RPL}
    yield from _judge(facts, "the processor", cpu.eip, selectors)
    if cpu.cpl == RPL and not facts.in_os_code(cpu.eip):
        yield from _general(facts, "the processor, in an application", cpu.gpr)
        yield from _hidden(facts)


def _hidden(facts: AuditFacts) -> Iterator[Finding]:
    """Look for flat hidden parts that an application could use under an innocent selector."""
    for name in _SEGMENTS:
        register = facts.cpu.segments[name]
        if register.selector | RPL == facts.info.dsos or not register.present:
            continue
        if not Selector(register.selector).null and register.limit >= facts.info.app_top:
            where = f"the processor's {name}, selector {register.selector:#06x}"
            yield Finding("flat-hidden-part", "error", where, _DATA_LIMIT)


def check_contexts(facts: AuditFacts) -> Iterator[Finding]:
    """Check every context that will be resumed: saved threads, frames of the event core.

    While a handler runs it may be half-way through writing one: what is found then is a note.
    """
    found = (finding for context in facts.contexts for finding in _context(facts, context))
    if facts.info.event_depth and facts.cpu.cpl == RPL:
        found = (replace(f, severity="note", text=f"{f.text} ({_WORKING})") for f in found)
    yield from found


def _context(facts: AuditFacts, context: Context) -> Iterator[Finding]:
    frame = context.frame
    selectors = {name: getattr(frame, name) & 0xFFFF for name in _SEGMENTS}
    yield from _judge(facts, context.where, frame.eip, selectors)
    if not facts.in_os_code(frame.eip):
        general = {name: getattr(frame, name) for name in _GENERAL}
        yield from _general(facts, f"{context.where}, an application", general)


def _judge(
    facts: AuditFacts, where: str, eip: int, selectors: Mapping[str, int]
) -> Iterator[Finding]:
    for name, selector in selectors.items():
        problem = _problem(facts, selector | RPL, facts.in_os_code(eip))
        if problem and not Selector(selector).null:
            rule, text = problem
            yield Finding(rule, "error", f"{where}, {name.upper()}", f"{selector:#06x} {text}")


def _problem(facts: AuditFacts, selector: int, os_code: bool) -> tuple[str, str] | None:
    if selector == facts.info.dsapp | RPL:
        return None
    if selector == facts.info.dsos:
        if os_code:
            return None
        return "application-holds-dsos", "is DSOS, at an application's EIP"
    if selector in facts.old:
        return "stale-selector", f"was DSOS until relocation {facts.old[selector]}"
    return "strange-selector", "is neither null, DSAPP nor DSOS: restoring it can fault in ring 0"


def _general(facts: AuditFacts, where: str, registers: Mapping[str, int]) -> Iterator[Finding]:
    for name in _GENERAL:
        if registers[name] | RPL == facts.info.dsos:
            text = f"holds {registers[name]:#06x}, the selector of DSOS; {CHANCE}"
            yield Finding("application-register", "warning", f"{where}, {name.upper()}", text)
