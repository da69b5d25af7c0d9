"""Which task an event hit, while the guest stands at the first instruction of its stub."""

from collections.abc import Callable
from dataclasses import replace

from klosdbg.events.event import Event
from klosdbg.ports import Target
from klosdbg.read import read_cpu
from klosdbg.recording.task_runs import told
from klosdbg.recording.task_stops import outgoing


def teller(target: Target) -> Callable[[Event], Event]:
    """Make what adds the task: the one that runs, or that a task gate has just switched from."""

    def tell(event: Event) -> Event:
        tr = read_cpu(target).segments["tr"].selector & ~3
        return replace(event, **told(outgoing(target)[0] if event.out else tr))

    return tell
