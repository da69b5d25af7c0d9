"""Exactly one DSOS: checks of the descriptor tables."""

from collections.abc import Iterator

from klosdbg.klos.audit.facts import RPL, AuditFacts, Slots
from klosdbg.klos.roles import ROLES
from klosdbg.x86.descriptor import Descriptor, Segment, decode_descriptor
from klosdbg.x86.findings import Finding
from klosdbg.x86.selector import Selector

_TOP = 0xFFFF_FFFF
_USER = 3


def check_tables(facts: AuditFacts) -> Iterator[Finding]:
    """Check that the tables are where KLOS says and can be read."""
    info = facts.info
    claims = ((info.gdt, info.gdt_limit), (info.ldt, info.ldt_limit))
    for slots, (base, limit) in zip(facts.tables, claims, strict=True):
        name = slots.table.upper()
        if (slots.base, slots.limit) != (base, limit):
            text = (
                f"the processor uses {slots.base:#010x}, limit {slots.limit:#x}, "
                f"and KLOS says {base:#010x}, limit {limit:#x}"
            )
            yield Finding("table-moved", "error", name, text)
        missing = slots.raws.count(None)
        if missing:
            text = f"{missing} of its {len(slots.raws)} slots are not mapped"
            yield Finding("table-unmapped", "error", name, text)


def check_dsos(facts: AuditFacts) -> Iterator[Finding]:
    """Check that the slot that KLOS names holds DSOS."""
    raw = facts.raw(facts.info.dsos)
    where = slot(facts.info.dsos)
    descriptor = decode_descriptor(raw) if raw else None
    if descriptor is None or not descriptor.present:
        text = "klos_info.dsos names this slot, and there is no present descriptor in it"
        yield Finding("dsos-missing", "error", where, text)
    elif not _is_dsos(descriptor):
        text = f"holds {raw_text(descriptor)}: no writable data, DPL 3, base 0, limit 4 GiB"
        yield Finding("dsos-descriptor", "error", where, text)


def _is_dsos(descriptor: Descriptor) -> bool:
    return (
        isinstance(descriptor, Segment)
        and descriptor.present
        and descriptor.writable
        and descriptor.dpl == _USER
        and (descriptor.base, descriptor.valid_offsets) == (0, (0, _TOP))
    )


def check_slots(facts: AuditFacts) -> Iterator[Finding]:
    """Check every slot but DSOS's: nothing else may let ring 3 reach OS memory."""
    roles = {getattr(facts.info, name) | RPL for name in ROLES.values()}
    odd: list[int] = []
    for slots in facts.tables:
        for selector, raw in _unlike_filler(slots, facts.filler):
            found = _covering(facts, selector, raw)
            if found:
                yield found
            elif selector not in roles and not Selector(selector).null:
                odd.append(selector)
    yield from _odd(facts, odd)


def _unlike_filler(slots: Slots, filler: bytes) -> Iterator[tuple[int, bytes]]:
    for index, raw in enumerate(slots.raws):
        if raw is not None and raw != filler:
            yield slots.selector(index), raw


def _covering(facts: AuditFacts, selector: int, raw: bytes) -> Finding | None:
    descriptor = decode_descriptor(raw)
    reaches = isinstance(descriptor, Segment) and _reaches_os(descriptor, facts.info.app_top)
    if selector == facts.info.dsos or not reaches:
        return None
    rule, text = _kind_of_cover(facts, selector, raw)
    return Finding(rule, "error", slot(selector), f"{text}: {raw_text(descriptor)}")


def _kind_of_cover(facts: AuditFacts, selector: int, raw: bytes) -> tuple[str, str]:
    if selector in facts.old:
        seq = facts.old[selector]
        return (
            "old-slot-present",
            f"relocation {seq} left this slot, and it still reaches OS memory",
        )
    if selector == facts.info.dsapp | RPL:
        return "dsapp-limit", "DSAPP reaches OS memory"
    if selector == facts.info.csos | RPL:
        return "csos-readable", "CSOS can be read, and reaches OS memory"
    if raw == facts.raw(facts.info.dsos):
        return "second-dsos", "a second descriptor that could be DSOS"
    return "covers-os", "another segment lets ring 3 reach OS memory"


def _reaches_os(segment: Segment, app_top: int) -> bool:
    usable = segment.present and (segment.dpl == _USER or segment.conforming)
    if not usable or not segment.readable or segment.valid_offsets is None:
        return False
    first, last = segment.valid_offsets
    return last - first > _TOP - segment.base or segment.base + last >= app_top


def _odd(facts: AuditFacts, selectors: list[int]) -> Iterator[Finding]:
    """Report slots that are neither in use nor filler: loading one must raise #NP."""
    strange = [s for s in selectors if not _raises_np(facts.raw(s))]
    for selector in strange[:4]:
        raw = facts.raw(selector) or bytes(8)
        text = f"no filler: {raw_text(decode_descriptor(raw))}; a guess that hits it raises no #NP"
        rule = "old-slot-present" if selector in facts.old else "odd-slot"
        yield Finding(rule, "error" if selector in facts.old else "warning", slot(selector), text)
    if len(strange) > 4:
        text = f"{len(strange) - 4} more slots are no filler (see 'gdt', 'ldt')"
        yield Finding("odd-slot", "warning", "tables", text)


def _raises_np(raw: bytes | None) -> bool:
    descriptor = decode_descriptor(raw) if raw else None
    segment = isinstance(descriptor, Segment) and not descriptor.present
    return segment and descriptor is not None and descriptor.dpl == _USER


def slot(selector: int) -> str:
    """Name a slot and its selector: ``GDT[524], selector 0x1063``."""
    chosen = Selector(selector)
    return f"{chosen.table.upper()}[{chosen.index}], selector {selector:#06x}"


def raw_text(descriptor: Descriptor) -> str:
    """Show a descriptor's bytes as a number, with its kind."""
    return f"{int.from_bytes(descriptor.raw, 'little'):#018x} ({descriptor.kind})"
