"""What happened, in five lines."""

from collections.abc import Iterator

from klosdbg.captures.report.facts import ReportFacts
from klosdbg.events.filters import is_error

_SHOWN = 4


def summary(facts: ReportFacts) -> Iterator[str]:
    """Say in five lines what was recorded, and what went wrong."""
    yield _what(facts)
    yield _events(facts)
    yield _errors(facts)
    yield _relocations(facts)
    yield _verdict(facts)


def _what(facts: ReportFacts) -> str:
    manifest = facts.manifest
    under = f"under QEMU {manifest.qemu} ({manifest.accelerator}) " if manifest.qemu else ""
    ended = manifest.ended or "the recording was not finished"
    began = f"was recorded from {manifest.started}" if manifest.started else "was recorded"
    return f"{manifest.target or 'A guest'} {under}{began}; it ended: {ended}."


def _events(facts: ReportFacts) -> str:
    if not facts.events:
        return "No events were recorded."
    counts = facts.counts
    shown = ", ".join(f"{count} × {name}" for name, count in counts[:_SHOWN])
    more = sum(count for _, count in counts[_SHOWN:])
    deepest = max(event.depth for event in facts.events)
    nested = f"; nested {deepest} deep" if deepest > 1 else ""
    rest = f" and {more} others" if more else ""
    return f"{len(facts.events)} events: {shown}{rest}{nested}."


def _errors(facts: ReportFacts) -> str:
    errors = [event for event in facts.events if is_error(event)]
    if not errors:
        return "No exception was among them." if facts.events else "No exception was seen."
    last = errors[-1]
    code = f" with error code {last.error_code:#x}" if last.error_code is not None else ""
    place = last.source.symbol or f"{last.source.cs:04x}:{last.source.eip:08x}"
    who = f" of {last.process}" if last.process else ""
    lost = sum(event.resumed is None for event in facts.events)
    never = f"; {_count(lost, 'event')} never came back" if lost else ""
    name = last.name or f"vector {last.vector}"
    return f"{_count(len(errors), 'exception')}, the last {name}{code} at {place}{who}{never}."


def _relocations(facts: ReportFacts) -> str:
    if not facts.relocations:
        return "DSOS was not relocated while it was recorded."
    last = facts.relocations[-1]
    old, new = (_selector(last.get(name)) for name in ("old_selector", "new_selector"))
    times = _count(len(facts.relocations), "time")
    return f"DSOS was relocated {times}, the last time from {old} to {new}."


def _selector(value: object) -> str:
    return f"{value:#06x}" if isinstance(value, int) else "?"


def _verdict(facts: ReportFacts) -> str:
    expected = [note for note in facts.notes if note.get("kind") == "expect"]
    failed = [str(note.get("text")) for note in expected if note.get("held") is not True]
    changed = sum(len(difference.changes) for difference in facts.differences)
    told = f"{_count(len(facts.moments), 'snapshot')}, between which {changed} fields changed"
    if failed:
        return f"{told}; {len(failed)} of {len(expected)} expectations failed: {failed[0]}"
    held = f"; {_count(len(expected), 'expectation')} held" if expected else ""
    return f"{told}{held}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
