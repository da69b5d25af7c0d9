"""What KLOS knows of an event while the guest stands at the first instruction of its stub."""

from collections.abc import Callable
from dataclasses import replace

from klosdbg.events.event import Event, Origin
from klosdbg.klos.find import read_numbers
from klosdbg.klos.recorder.facts import KlosFacts
from klosdbg.ports import Symbols, Target


def teller(target: Target, symbols: Symbols | None) -> Callable[[Event], Event]:
    """Make what adds depth, process, thread, handler and origin; ``CommandError`` without KLOS."""
    facts = KlosFacts(target, symbols)
    memory = target.linear_at_stop or target.linear

    def tell(event: Event) -> Event:
        running = facts.running(*memory.read_many(facts.running_requests()))
        handlers = read_numbers(target, facts.info.handlers, 4, "handlers")
        idle = event.source.eip == facts.info.idle_site and event.source.cpl == 0
        origin: Origin = "idle" if idle else "program"
        return replace(
            event,
            depth=running.depth + 1,
            process=facts.process(running.pid),
            pid=running.pid,
            tid=running.tid,
            handler=handlers[event.vector] if event.vector < len(handlers) else None,
            origin=origin,
        )

    return tell
