"""The server: one thread, sockets that never block, and a fair turn for every client."""

import contextlib
import selectors
import signal
import socket
from collections.abc import Callable
from functools import partial

from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.server.client import Client, Gone
from klosdbg.server.hub import Hub
from klosdbg.server.listen import Listener, listen
from klosdbg.server.packets import answer
from klosdbg.server.running import interrupt
from klosdbg.server.stops import Controllers, take_news
from klosdbg.session import Session
from klosdbg.wire.rsp import BadPacket, Interrupt, Junk, Nack, Packet, RspEvent

MOST_CLIENTS = 32
_TURN = 16
_IDLE = 1.0
_POLL = 0.01
_KILLED = b"X09"


class Server:
    """Serve what a session looks at: ``run`` does, until Ctrl-C or the target's end."""

    def __init__(
        self, session: Session, listener: Listener, warn: Callable[[str], None] | None = None
    ) -> None:
        self.hub = Hub(session)
        self._controllers = Controllers(self.hub)
        if self.hub.control:
            self.hub.control.join(self._controllers)
        self._listener = listener
        self._warn = warn or session.warn
        self._selector = selectors.DefaultSelector()
        self._numbers = 0
        self._stopping = False
        listener.socket.setblocking(False)
        self._selector.register(listener.socket, selectors.EVENT_READ)
        connection = self.hub.target.connection
        if connection is not None:
            self._selector.register(connection, selectors.EVENT_READ, connection.check)

    def run(self) -> None:
        """Serve clients until ``stop``, Ctrl-C, or ``TargetLost``."""
        try:
            with self._serving():
                while not self._stopping:
                    self._turn(_IDLE)
        except TargetLost:
            self._tell_the_end()
            raise
        finally:
            self.close()

    def turn(self) -> None:
        """Serve what has come, and wait for nothing else."""
        with self._serving():
            self._turn(0.0)

    def fileno(self) -> int:
        """Name the descriptor that is ready when there is something to serve."""
        return self._selector.fileno()

    @property
    def clients(self) -> list[Client]:
        """Who is connected."""
        return self.hub.clients

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The linear addresses of the clients' breakpoints, sorted."""
        return tuple(sorted({at for client in self.clients for _, at in client.breakpoints}))

    def stop(self) -> None:
        """End ``run`` after its present turn."""
        self._stopping = True

    def close(self) -> None:
        """Let every client go, and stop listening."""
        for client in list(self.hub.clients):
            with contextlib.suppress(TargetLost):
                self._drop(client)
        if self.hub.control:
            self.hub.control.leave(self._controllers)
        self.hub.close()
        self._selector.close()
        self._listener.close()

    def _serving(self) -> contextlib.AbstractContextManager[None]:
        control = self.hub.control
        return control.serving(self) if control else contextlib.nullcontext()

    def _tell_the_end(self) -> None:
        for client in self.hub.clients:
            if client.waiting:
                with contextlib.suppress(Gone):
                    client.reply(_KILLED)
                    client.flush()

    def _turn(self, longest: float) -> None:
        self.serve(min(self._patience(), longest))
        for client, reply in take_news(self.hub):
            self._guard(client, partial(_tell, reply))

    def _patience(self) -> float:
        if any(client.events for client in self.hub.clients):
            return 0.0
        control = self.hub.control
        if control is None or not control.running:
            return 0.0 if control and control.moved else _IDLE
        longest = _IDLE if self.hub.target.connection else _POLL
        return control.patience(longest)

    @property
    def interrupted(self) -> bool:
        """Tell whether the controller has asked for a stop, with 0x03."""
        return self.hub.controller is not None and self.hub.controller.interrupted

    def serve(self, seconds: float) -> None:
        """Serve every client once, waiting at most so long for one that has something to say."""
        if self._stopping and any(client.busy for client in self.hub.clients):
            # Inside of a client's command, which may wait for the guest for ever.
            raise KeyboardInterrupt
        for client in self.hub.clients:
            self._watch(client)
        newcomers = False
        for key, ready in self._selector.select(seconds):
            if key.fileobj is self._listener.socket:
                newcomers = True
            elif callable(key.data):
                key.data()
            else:
                self._guard(key.data, partial(self._exchange, ready))
        for client in list(self.hub.clients):
            self._guard(client, self._handle)
        if newcomers:
            # After those who were there: one of them may have said that it gives control up.
            self._accept()
        if self.hub.control:
            self.hub.control.turn()

    def _watch(self, client: Client) -> None:
        wanted = selectors.EVENT_READ if client.wants_to_read else 0
        wanted |= selectors.EVENT_WRITE if client.wants_to_write else 0
        known = self._selector.get_map().get(client.socket)
        if known is None and wanted:
            self._selector.register(client.socket, wanted, client)
        elif known is not None and not wanted:
            self._selector.unregister(client.socket)
        elif known is not None and known.events != wanted:
            self._selector.modify(client.socket, wanted, client)

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.socket.accept()
        except OSError:
            return
        if len(self.hub.clients) >= MOST_CLIENTS:
            connection.close()
            self._warn(f"refused a client: {MOST_CLIENTS} are connected")
            return
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._numbers += 1
        self.hub.join(Client(connection, self._numbers, self.hub.session()))

    def _exchange(self, ready: int, client: Client) -> None:
        if ready & selectors.EVENT_READ:
            self._sort(client, client.receive())
        if ready & selectors.EVENT_WRITE:
            client.flush()

    def _sort(self, client: Client, events: list[RspEvent]) -> None:
        """Queue events; an interrupt of a client whose command runs cannot wait for its end."""
        for event in events:
            if client.busy and isinstance(event, Interrupt):
                interrupt(self.hub, client)
            else:
                client.events.append(event)

    def _handle(self, client: Client) -> None:
        for _ in range(_TURN):
            if not client.events or client.busy or client.full:
                break
            self._take(client, client.events.popleft())
        if client.wants_to_write:
            client.flush()
        if client.leaving and not client.wants_to_write:
            raise Gone("it detached")

    def _take(self, client: Client, event: RspEvent) -> None:
        if isinstance(event, Packet):
            client.greeted = True
            answer(self.hub, client, event.payload)
        elif isinstance(event, Interrupt):
            interrupt(self.hub, client)
        elif isinstance(event, Nack):
            client.repeat()
        elif isinstance(event, Junk | BadPacket) and not client.greeted:
            # A browser can be made to post packets to a port of this machine, after its own header.
            raise Gone("it does not speak GDB's protocol")

    def _guard(self, client: Client, act: Callable[[Client], None]) -> None:
        if client not in self.hub.clients:
            return
        try:
            act(client)
        except Gone as gone:
            if client in self.hub.clients:
                self._warn(f"client {client.number} is gone: {gone}")
                self._drop(client)

    def _drop(self, client: Client) -> None:
        """Let a client go; once more, where Ctrl-C came in the middle."""
        if client.socket.fileno() >= 0:
            if self._selector.get_map().get(client.socket):
                self._selector.unregister(client.socket)
            client.socket.close()
        client.leaving = True
        try:
            self.hub.leave(client)
        except TargetLost:
            raise
        except KlosdbgError as error:
            self._warn(f"client {client.number} left something behind: {error}")


def _tell(reply: bytes, client: Client) -> None:
    client.reply(reply)


def serve_session(session: Session, spec: str, *, exposed: bool = False) -> None:
    """Serve a session's target until Ctrl-C or SIGTERM, which are the ways to end it."""
    listener = listen(spec, exposed=exposed)
    server = Server(session, listener)
    print(f"listening at {listener.name}: in gdb, 'target remote {listener.gdb}'", flush=True)

    def end(*_signal: object) -> None:
        # A shell has processes behind '&' ignore Ctrl-C: that alone would not end them.
        server.stop()
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    finally:
        signal.signal(signal.SIGTERM, previous)
