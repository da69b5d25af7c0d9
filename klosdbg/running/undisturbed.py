"""A session's target for what runs the guest by itself: the recorder's stops do not show in it."""

from dataclasses import dataclass, replace

from klosdbg.ports import RunControl, StopEvent, Target
from klosdbg.running.execution import wait_for_event
from klosdbg.session import Session


def traced_target(session: Session) -> Target:
    """Give the session's target; where events are recorded, a wait goes on over their stops."""
    if session.tracer is None and not any(b.condition for b in session.breakpoints):
        return session.target
    return replace(session.target, control=_TracedControl(session, session.control))


@dataclass(frozen=True, slots=True)
class _TracedControl:
    session: Session
    control: RunControl

    @property
    def running(self) -> bool:
        return self.control.running

    def resume(self) -> None:
        self.control.resume()

    def wait(self, timeout: float | None) -> StopEvent:
        return wait_for_event(self.session, timeout) or self.interrupt()

    def step(self) -> StopEvent:
        return self.control.step()

    def interrupt(self) -> StopEvent:
        event, tracer = self.control.interrupt(), self.session.tracer
        own = tracer is not None and tracer.handle(event)
        return replace(event, reason="interrupt") if own else event

    def insert(self, address: int) -> None:
        self.control.insert(address)

    def remove(self, address: int) -> None:
        self.control.remove(address)

    def reset(self) -> StopEvent:
        return self.control.reset()
