"""Which task runs at the stops of a recording, and which was left for it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from klosdbg.errors import KlosdbgError
from klosdbg.events.event import Place
from klosdbg.other_task import task_name
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_tss
from klosdbg.recording.saved_task import read_saved_task
from klosdbg.x86.bits import bit

_NT = 14


class TaskRuns:
    """Notes at each stop which task runs: the selector in TR."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.selector = 0

    def look(self) -> int | None:
        """Look anew; return the task that was left for this one since the last stop.

        None where none was: the same one runs, or one that it has called and waits for.
        """
        before = self.selector
        self.selector = read_cpu(self._target).segments["tr"].selector & ~3
        left = before not in (0, self.selector) and not self._was_called_by(before)
        return before if left else None

    def went_on(self) -> Place:
        """Say where the running task went on when it was switched to: what its TSS still holds.

        Raise ``KlosdbgError`` where that cannot be read.
        """
        return read_saved_task(self._target, self.selector).place(self._target)

    def _was_called_by(self, selector: int) -> bool:
        nested = bit(read_cpu(self._target).eflags, _NT)
        with suppress(KlosdbgError):
            return nested and read_tss(self._target).fields["back_link"] == selector
        return False


def told(selector: int | None) -> Mapping[str, Any]:
    """Give the fields of an event, or of where it resumed, that say which task it was."""
    return {} if selector is None else {"process": task_name(selector), "tid": selector}
