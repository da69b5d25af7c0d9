"""What the clients share: the target, who controls it, and the stops that all are told of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from klosdbg.commands.capture import leave_capture
from klosdbg.errors import CommandError, KlosdbgError, TargetError, TargetLost, TargetRunning
from klosdbg.ports import StopEvent
from klosdbg.read import read_cpu
from klosdbg.running.events import stop_tracer
from klosdbg.server.client import Client, Conditions
from klosdbg.server.recorders import Sharing
from klosdbg.server.registers import RegisterLayout
from klosdbg.server.threads import ALONE, GuestThread, read_guest_threads
from klosdbg.session import Session
from klosdbg.stops import Stops, owning

_SIGNALS = {"interrupt": 2, "shutdown": 3}
_SIGTRAP = 5
_TIMEOUT = 60.0
_NOT_IN_CONTROL = "this client observes: 'monitor klos control' takes control"


class Hub:
    """One target and its clients, of which one at most controls it."""

    def __init__(self, base: Session) -> None:
        self.target = replace(base.live, close=lambda: None)
        self.control = owning(base.live)[1]
        self.layout = RegisterLayout(base.live.address_bits == 64)
        self.clients: list[Client] = []
        self.controller: Client | None = None
        self._base = base
        self._sharing = Sharing(base, lambda: self.control is None or not self.control.served)
        if self.control:
            self.control.leave(base)
            self.control.join(self._sharing)

    def close(self) -> None:
        """Let the session that was served have its stops to itself again."""
        if self.control:
            self.control.leave(self._sharing)
            self.control.join(self._base)

    @property
    def running(self) -> bool:
        """Tell whether the guest runs."""
        return self.control is not None and self.control.running

    def session(self) -> Session:
        """Make the session of a new client, which ``join`` lets look at what is served."""
        base = self._base
        timeout = base.timeout or _TIMEOUT
        session = Session(
            symbols=base.symbols,
            timeout=timeout,
            opened=base.opened,
            describe=base.describe,
        )
        session.events = list(base.events)
        return session

    def join(self, client: Client) -> None:
        """Take a client in: it looks at what the served session looked at.

        It gets control where nobody has it.
        """
        session, base = client.session, self._base
        session.attach(self.target, Sharing(session, lambda: client.busy))
        if base.shown is not None:
            session.look_at(base.shown, base.target)
        self.clients.append(client)
        if self.controller is None:
            self.controller = client

    def leave(self, client: Client) -> None:
        """Let a client go: it leaves no breakpoints, and a guest that it stopped runs on."""
        self.clients.remove(client)
        if client.busy and self.control and self.control.running:
            self.control.interrupt()
        if client.session.capture is not None:
            leave_capture(client.session, None)
        if self.controller is client:
            self.release(client)
        client.session.detach()

    def take_control(self, client: Client) -> None:
        """Hand control to a client, or raise ``CommandError`` while a command of who has it runs.

        Who had it keeps no breakpoints and observes from now on.
        """
        holder = self.controller
        if holder is client:
            return
        if holder is not None:
            if holder.busy:
                raise CommandError("the controller's command still runs: try again when it is done")
            self._drop_breakpoints(holder)
            client.found_running, holder.found_running = holder.found_running, False
        self.controller = client

    def release(self, client: Client) -> None:
        """Give control up: breakpoints go, and a guest that the client found running runs on."""
        self._drop_breakpoints(client)
        self.controller = None
        if client.found_running and self.control and not self.control.running:
            client.found_running = False
            self.control.resume()

    def require_control(self, client: Client) -> Stops:
        """Return the run control for the controller; raise ``CommandError`` for everybody else."""
        if self.controller is not client:
            raise CommandError(_NOT_IN_CONTROL)
        if self.control is None:
            raise CommandError(f"{self.target.name} cannot run: it is a recording")
        return self.control

    def add_breakpoint(
        self, client: Client, kind: int, address: int, conditions: Conditions = ()
    ) -> None:
        """Set a breakpoint of a client, while the guest runs too; once more: its conditions."""
        control = self.require_control(client)
        if (kind, address) not in client.breakpoints:
            with self.stopped():
                control.insert(address)
        client.breakpoints[kind, address] = conditions

    def remove_breakpoint(self, client: Client, kind: int, address: int) -> None:
        """Take away a breakpoint of a client; one that is gone already does no harm."""
        if self.control and (kind, address) in client.breakpoints:
            with self.stopped():
                self.control.remove(address)
            del client.breakpoints[kind, address]

    def stop_reply(self, client: Client, event: StopEvent | None = None) -> bytes:
        """Make the stop reply for a client: of the last stop, where ``event`` is None."""
        if event is None:
            event = self.control.wait(0) if self.control else StopEvent("step", _SIGTRAP)
        client.thread = 0
        signal = _SIGNALS.get(event.reason, event.signal)
        reply = f"T{signal:02x}thread:{self.running_thread(client).number:x};"
        return (reply + self._cause(client, event)).encode()

    def threads(self, client: Client) -> list[GuestThread]:
        """List the threads as this client wants to see them, the running one first."""
        session = client.session
        try:
            cpu = read_cpu(session.target)
        except TargetRunning:
            return [GuestThread(ALONE, "processor", "running")]
        shown = client.shows_threads
        return session.stop_cache.get(
            cpu, f"threads {shown}", lambda: read_guest_threads(session, shown)
        )

    def running_thread(self, client: Client) -> GuestThread:
        """Give the thread that the processor executes."""
        return self.threads(client)[0]

    def thread(self, client: Client) -> GuestThread:
        """Give the thread that the client has chosen; the running one where it chose none."""
        threads = self.threads(client)
        return next((t for t in threads if t.number == client.thread), threads[0])

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop a running guest for a moment."""
        if self.control is None or not self.control.running:
            yield
            return
        stopped_itself = self.control.interrupt().reason != "interrupt"
        yield
        if not stopped_itself:
            self.control.resume()

    def _cause(self, client: Client, event: StopEvent) -> str:
        if event.reason == "watchpoint" and event.address is not None:
            return _watched(client, event.address)
        if event.reason not in ("breakpoint", "step", "signal") or not client.breakpoints:
            return ""
        linear = read_cpu(client.session.target).linear_pc
        for kind, cause in ((0, "swbreak"), (1, "hwbreak")):
            if (kind, linear) in client.breakpoints and cause in client.features:
                return f"{cause}:;"
        return ""

    def _drop_breakpoints(self, client: Client) -> None:
        if client.session.tracer is not None:
            stop_tracer(client.session, "asked")
        if not (client.breakpoints or client.watchpoints or client.session.breakpoints):
            return
        with self.stopped():
            for kind, address in sorted(client.breakpoints):
                self.remove_breakpoint(client, kind, address)
            if self.target.watchpoints is not None:
                for watched in sorted(client.watchpoints):
                    self.target.watchpoints.remove(*watched)
                    client.watchpoints.discard(watched)
            for breakpoint in list(client.session.breakpoints):
                client.session.delete_breakpoint(breakpoint)


def _watched(client: Client, address: int) -> str:
    for kind, start, size in sorted(client.watchpoints):
        if start <= address < start + size:
            return f"{kind}:{address:x};"
    return ""


def error_code(error: KlosdbgError) -> int:
    """Give the ``errno`` that a client is answered with; a lost target is nobody's answer."""
    if isinstance(error, TargetLost):
        raise error
    return 14 if isinstance(error, TargetError) else 1
