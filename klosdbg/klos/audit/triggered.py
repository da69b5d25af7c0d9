"""Relocations that klosdbg causes, one after the other, with an audit after each."""

import time
from collections.abc import Callable, Iterator

from klosdbg.errors import CommandError
from klosdbg.klos.audit.every import NoRelocationError, audit_each
from klosdbg.klos.dsos_models import Audited, AuditSum
from klosdbg.klos.mailbox import Posted
from klosdbg.klos.trigger import ONE_BY_ONE, How, Trigger, written_for


def audit_triggered(
    trigger: Trigger, how: How, wanted: int, progress: Callable[[str], None]
) -> Iterator[Audited | AuditSum]:
    """Make DSOS move ``wanted`` times; yield each with what an audit found, and the sum at last.

    Ctrl-C ends it with the sum of what was done, and is raised again.
    """
    began, audits, done = time.monotonic(), list[Audited](), 0
    causes = _Causes(trigger, wanted)

    def added() -> AuditSum:
        seconds = time.monotonic() - began
        return AuditSum.of(how, wanted, audits, seconds, tuple(causes.written))

    try:
        cause = causes.by_way(how)
        for audited in audit_each(trigger.target, trigger.symbols, wanted, trigger.timeout, cause):
            audits.append(audited)
            done += len(audited.relocations)
            if wanted > ONE_BY_ONE:
                progress(f"{done} of {wanted} relocations")
            yield audited
        causes.settle()
    except NoRelocationError:
        causes.settle()
        raise
    except KeyboardInterrupt:
        causes.take_back()
        yield added()
        raise
    yield added()


class _Causes:
    def __init__(self, trigger: Trigger, wanted: int) -> None:
        self._trigger, self._wanted = trigger, wanted
        self._posted: Posted | None = None
        self.written: dict[str, None] = {}

    def by_way(self, how: How) -> Callable[[], None]:
        """Give what is to be done before each relocation."""
        ways = {"probe": self._probe, "mailbox": self._mailbox, "call": self._call}
        return ways[how]

    def settle(self) -> None:
        """Let the guest answer, or raise ``CommandError`` with its refusal."""
        if self._posted is not None:
            answer, self._posted = self._posted.answer(self._trigger.timeout), None
            if answer.failure:
                raise CommandError(answer.failure)

    def take_back(self) -> None:
        """Leave nothing in the mailbox that the guest has not seen."""
        if self._posted is not None:
            self._posted.take_back()

    def _probe(self) -> None:
        """Ask once: an application then causes one after the other."""
        if self._posted is None:
            self._note(self._trigger.post_probe(self._wanted))

    def _mailbox(self) -> None:
        self.settle()
        self._note(self._trigger.post_relocate(1))

    def _call(self) -> None:
        self.written |= dict.fromkeys(self._trigger.call(1))

    def _note(self, posted: Posted) -> None:
        self._posted = posted
        self.written |= dict.fromkeys(written_for(posted.changes))
