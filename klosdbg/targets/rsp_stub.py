"""What the ports of an RSP target share: the link, what the stub is, whether the guest runs."""

from collections.abc import Sequence

from klosdbg.errors import ProtocolError, TargetError, TargetRunning
from klosdbg.targets.rsp_link import CONNECT_TIMEOUT, RspLink
from klosdbg.wire.rsp_replies import (
    Features,
    StopReply,
    Transfer,
    is_error,
    parse_features,
    parse_hex,
    parse_stop,
    parse_thread_list,
    parse_vcont_actions,
)
from klosdbg.wire.target_xml import TargetDescription, included, parse_target_xml

_HELLO = b"qSupported:vContSupported+;swbreak+;hwbreak+;xmlRegisters=i386"
_ANY_THREAD = b"Hg0"
"""GDB's own server describes the registers of the thread that has been chosen, and fails before."""
_OF_KLOSDBG = "gdtr_base"
"""A register that klosdbg's own server describes: its threads are KLOS's, unless told otherwise."""


class RspStub:
    """A stub that has been greeted. ``was_running`` tells whether connecting stopped the guest.

    ``threads`` are the guest's processors by the stub's numbers, and ``stopped_thread`` is the one
    that stopped last. ``resumed`` holds from a resume until ``take_stop`` has returned the stop
    reply to it. ``changes`` counts what may have changed registers: what was read before is old.
    """

    def __init__(self, link: RspLink) -> None:
        self.link = link
        self._resumed = False
        self._changes = 0
        self.features = self._greet()
        self._was_running = link.take_stop() is not None
        self.description = self._describe()
        self.is_klosdbg = self.description.find(_OF_KLOSDBG) is not None
        if self.is_klosdbg:
            self.monitor("klos as-threads off")
        listed = self._list_threads()
        self.threads = tuple(sorted(listed))
        self._stopped_thread = listed[0]
        actions = parse_vcont_actions(self.link.request(b"vCont?"))
        self._steps_one = {"s", "c"} <= actions

    @property
    def was_running(self) -> bool:
        """Tell whether the guest ran until this connection stopped it."""
        return self._was_running

    @property
    def resumed(self) -> bool:
        """Tell whether there is a stop still to be taken."""
        return self._resumed

    @property
    def running(self) -> bool:
        """Tell whether the guest runs, noticing a stop that has already arrived."""
        return self._resumed and not self.link.wait_stop(0)

    @property
    def changes(self) -> int:
        """How often registers may have changed."""
        return self._changes

    @property
    def next_stop(self) -> StopReply | None:
        """The stop that has arrived and is still to be taken."""
        arrived = self.link.next_stop if self._resumed else None
        return None if arrived is None else parse_stop(arrived)

    @property
    def stopped_thread(self) -> int:
        """The thread that stopped last; that of a stop which is still to be taken counts."""
        arrived = self.next_stop
        return self._stopped_thread if arrived is None else self._thread_of(arrived)

    @property
    def stopped_processor(self) -> int | None:
        """The place of that thread among the threads, from 0; None where it is none of them."""
        thread = self.stopped_thread
        return self.threads.index(thread) if thread in self.threads else None

    def found_running(self, running: bool) -> None:
        """Note what somebody else knows of the guest before this connection stopped it."""
        self._was_running = running

    def resume(self, before: Sequence[bytes], action: bytes) -> list[bytes]:
        """Send requests and then ``c`` or ``s``; return the replies to the requests."""
        self.require_stopped()
        self.registers_change()
        self._resumed = True
        return self.link.resume(before, action)

    def take_stop(self) -> StopReply:
        """Return the stop reply to the last resume, which ``link.wait_stop`` has waited for."""
        payload = self.link.take_stop()
        assert payload is not None
        self._resumed = False
        reply = parse_stop(payload)
        self._stopped_thread = self._thread_of(reply)
        return reply

    def step_action(self, *, alone: bool) -> bytes:
        """Say how the processor that stopped steps; ``alone``: the others stand still meanwhile.

        A plain ``s`` lets the others run, and QEMU's stub then forgets to end the step where one of
        them stops the guest; GDB's own server lets the one run as well.
        """
        if not self._steps_one:
            return b"s"
        return b"vCont;s:%x%b" % (self.stopped_thread, b"" if alone else b";c")

    def choose_first(self) -> None:
        """Let the first processor be the one that stopped: a reset starts it."""
        first = self.threads[0]
        if self._stopped_thread != first:
            self.link.pipeline([b"Hg%x" % first, b"Hc%x" % first])
            self._stopped_thread = first
            self.registers_change()

    def registers_change(self) -> None:
        """Note that what was known about the registers is old."""
        self._changes += 1

    def require_stopped(self) -> None:
        """Raise ``TargetRunning`` while the guest runs: a byte sent now would stop it."""
        if self.running:
            raise TargetRunning

    def ask(self, payload: bytes) -> bytes:
        """Send a request to a stopped stub."""
        self.require_stopped()
        return self.link.request(payload)

    def ask_many(self, payloads: list[bytes]) -> list[bytes]:
        """Send requests to a stopped stub in one pipeline."""
        self.require_stopped()
        return self.link.pipeline(payloads)

    def monitor(self, command: str) -> str:
        """Run a monitor command (``qRcmd``) and return what it printed, with plain line ends.

        Raise ``TargetError`` where the stub refuses it.
        """
        self.require_stopped()
        request = b"qRcmd," + command.encode().hex().encode()
        if len(request) > self.features.packet_size - 4:
            raise TargetError("the monitor command is too long for the stub")
        *output, last = self.link.monitor(request)
        if last == b"" or is_error(last):
            raise TargetError(f"the stub refused the monitor command {command!r}")
        parts = [payload[1:] for payload in output] + ([] if last == b"OK" else [last])
        text = b"".join(parse_hex(part, "monitor output") for part in parts)
        return text.decode(errors="replace").replace("\r\n", "\n")

    def leave(self, last: list[bytes]) -> None:
        """Leave the guest as it was found, running if it ran, after some last requests."""
        if last:
            self.link.pipeline(last)
        if self._was_running:
            self.link.request(b"D")

    def _thread_of(self, reply: StopReply) -> int:
        named = reply.thread is not None and reply.thread.tid > 0
        return reply.thread.tid if reply.thread and named else self._stopped_thread

    def _greet(self) -> Features:
        name = self.link.name
        reply = self.link.request(
            _HELLO,
            CONNECT_TIMEOUT,
            f"{name} does not answer: is the stub in use by another debugger? "
            "Detach that one, or is it no GDB stub?",
        )
        features = parse_features(reply)
        if "QStartNoAckMode" in features.supported:
            self.link.start_no_ack_mode()
        if "qXfer:features:read" not in features.supported:
            raise ProtocolError(f"{name} describes no registers: klosdbg needs target.xml")
        self.link.request(_ANY_THREAD)
        return features

    def _describe(self) -> TargetDescription:
        documents = {"target.xml": self._document("target.xml")}
        wanted = included(documents["target.xml"])
        while wanted and len(documents) < 32:
            name = wanted.pop()
            if name not in documents:
                documents[name] = self._document(name)
                wanted += included(documents[name])
        return parse_target_xml(documents)

    def _document(self, name: str) -> bytes:
        transfer = Transfer("features", name, self.features.packet_size - 5)
        while not transfer.done:
            transfer.feed(self.link.request(transfer.request()))
        return transfer.data

    def _list_threads(self) -> list[int]:
        threads: list[int] = []
        reply = self.link.request(b"qfThreadInfo")
        while reply.startswith(b"m") and len(threads) < 4096:
            threads += [thread.tid for thread in parse_thread_list(reply)]
            reply = self.link.request(b"qsThreadInfo")
        return threads or [1]
