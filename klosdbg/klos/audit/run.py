"""The audit: every check, on a guest that stands still."""

from collections.abc import Callable, Iterator

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.audit.contexts import check_contexts, check_processor, check_sites
from klosdbg.klos.audit.facts import AuditFacts, read_facts
from klosdbg.klos.audit.memory import check_memory, check_places
from klosdbg.klos.audit.tables import check_dsos, check_slots, check_tables
from klosdbg.klos.find import booted_klos
from klosdbg.ports import Symbols, Target
from klosdbg.x86.findings import Finding, Findings, findings

_NEEDED = {
    "processes": "applications' pages are not looked at",
    "threads": "saved contexts are not looked at",
    "relocation_log": "old slots and stale selectors are not known as such",
    "sites": "no prologue is compared",
}


def check_told(facts: AuditFacts) -> Iterator[Finding]:
    """Say what could not be checked, since the image or its profile has no such array."""
    for name, left_out in _NEEDED.items():
        if not getattr(facts.info, name).count:
            yield Finding("not-checked", "note", f"klos_info.{name}", f"empty: {left_out}")


_CHECKS: tuple[Callable[[AuditFacts], Iterator[Finding]], ...] = (
    check_tables,
    check_dsos,
    check_slots,
    check_sites,
    check_processor,
    check_contexts,
    check_places,
    check_memory,
    check_told,
)


def audit(target: Target, symbols: Symbols | None) -> Findings:
    """Check that after any relocation everything agrees.

    Raise ``CommandError`` while the guest runs.
    """
    if target.control is not None and target.control.running:
        raise CommandError("the guest is running: 'interrupt' it, or add --stop, to audit it")
    info = booted_klos(target, symbols).info
    if info.sequence % 2:
        text = f"sequence is {info.sequence}: tables and sites may disagree until it is even"
        return findings([Finding("relocation-in-progress", "warning", "klos_info", text)])
    facts = read_facts(target, info)
    return findings(finding for check in _CHECKS for finding in _guarded(check, facts))


def _guarded(
    check: Callable[[AuditFacts], Iterator[Finding]], facts: AuditFacts
) -> Iterator[Finding]:
    try:
        yield from check(facts)
    except KlosdbgError as error:
        name = check.__name__.removeprefix("check_")
        yield Finding("unreadable", "error", name, str(error))
