"""What the ports of an RSP target share: the link, what the stub is, whether the guest runs."""

import re
from collections.abc import Sequence

from klosdbg.errors import ProtocolError, TargetError, TargetLost, TargetRunning
from klosdbg.targets.rsp_link import CONNECT_TIMEOUT, RspLink
from klosdbg.wire.rsp_replies import (
    Features,
    Transfer,
    garbage,
    is_error,
    parse_features,
    parse_hex,
    parse_thread_list,
)
from klosdbg.wire.target_xml import TargetDescription, included, parse_target_xml
from klosdbg.x86.cpu import Cpu

_HELLO = b"qSupported:vContSupported+;xmlRegisters=i386"
_OF_KLOSDBG = "gdtr_base"
"""A register that klosdbg's own server describes: its threads are KLOS's, unless told otherwise."""
_RUN_STATE = re.compile(r"VM status: (?P<state>[a-z]+)[^(]*(?:\((?P<why>[a-z-]+)\))?")
_STEP_MASK, _STEP_ALONE = 7, 1
"""Steps without interrupts and timers, and with both."""


class RspStub:
    """A stub that has been greeted. ``was_running`` tells whether connecting stopped the guest.

    ``resumed`` holds from a resume until ``take_stop`` has returned the stop reply to it.
    ``stopped_among`` holds the breakpoints that were armed when one of them stopped the guest; None
    when the program counter may be anywhere. ``cpu`` is what was read since the last stop, which
    ``stopped_thread`` (from 1) reported. ``found_state`` is the state that the guest was met in.
    """

    def __init__(self, link: RspLink) -> None:
        self.link = link
        self.cpu: Cpu | None = None
        self.stopped_among: frozenset[int] | None = None
        self.stopped_thread = 1
        self.resumed = False
        self.features = self._greet()
        told = link.take_stop() is not None
        self.description = self._describe()
        if self.description.find(_OF_KLOSDBG):
            self.monitor("klos as-threads off")
        self.found_state = self.run_state()
        self.was_running = told or self._was_stopped_silently()
        self.threads = self._count_threads()
        self._found_physical = self._query_physical()
        self._physical = self._found_physical
        self._found_step_mask = self._query_step_mask()
        if self._found_step_mask not in (None, _STEP_MASK):
            self._set_step_mask(_STEP_MASK)

    @property
    def has_physical(self) -> bool:
        """Tell whether the stub reads physical memory."""
        return self._found_physical is not None

    @property
    def running(self) -> bool:
        """Tell whether the guest runs, noticing a stop that has already arrived."""
        return self.resumed and not self.link.wait_stop(0)

    def resume(self, before: Sequence[bytes], action: bytes) -> list[bytes]:
        """Send requests and then ``c`` or ``s``; return the replies to the requests."""
        self.require_stopped()
        self.forget_registers()
        self.resumed = True
        return self.link.resume(before, action)

    def take_stop(self) -> bytes:
        """Return the stop reply to the last resume, which ``link.wait_stop`` has waited for."""
        payload = self.link.take_stop()
        assert payload is not None
        self.resumed = False
        return payload

    def require_stopped(self) -> None:
        """Raise ``TargetRunning`` while the guest runs: a byte sent now would stop it."""
        if self.running:
            raise TargetRunning

    def forget_registers(self) -> None:
        """Drop what was known about the registers."""
        self.cpu = None
        self.stopped_among = None

    def ask(self, payload: bytes) -> bytes:
        """Send a request to a stopped stub."""
        self.require_stopped()
        return self.link.request(payload)

    def ask_memory(self, physical: bool, payloads: list[bytes]) -> list[bytes]:
        """Send memory requests in one pipeline, in the address space that they are for."""
        self.require_stopped()
        if physical == bool(self._physical):
            return self.link.pipeline(payloads)
        switch = b"Qqemu.PhyMemMode:%d" % physical
        first, *replies = self.link.pipeline([switch, *payloads])
        if first != b"OK":
            raise TargetError(f"{self.link.name} cannot read physical memory")
        self._physical = physical
        return replies

    def let_interrupts_in(self, wanted: bool) -> None:
        """Let steps take interrupts, and timers run in them, or not; some stubs cannot choose."""
        if self._found_step_mask is not None:
            self._set_step_mask(_STEP_ALONE if wanted else _STEP_MASK)

    def monitor(self, command: str) -> str:
        """Run a monitor command (``qRcmd``) and return what it printed, with plain line ends."""
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

    def run_state(self) -> str:
        """Return QEMU's name of the state of a stopped guest: ``paused``, ``prelaunch``, ...

        Empty where the stub has no monitor that knows.
        """
        told = _RUN_STATE.fullmatch(self._ask_monitor("info status"))
        return (told["why"] or told["state"]) if told else ""

    def _ask_monitor(self, command: str) -> str:
        try:
            return self.monitor(command).strip()
        except TargetLost:
            raise
        except TargetError:
            return ""

    def leave(self, armed: Sequence[int]) -> None:
        """Leave the guest as it was found: without breakpoints, running if it ran."""
        removals = [b"z0,%x,1" % address for address in armed]
        if self._found_physical is not None:
            removals.append(b"Qqemu.PhyMemMode:%d" % self._found_physical)
        if self._found_step_mask not in (None, _STEP_MASK):
            removals.append(b"Qqemu.sstep=%x" % self._found_step_mask)
        if removals:
            self.link.pipeline(removals)
        if self.was_running:
            self.link.request(b"D")

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

    def _count_threads(self) -> int:
        count = 0
        reply = self.link.request(b"qfThreadInfo")
        while reply.startswith(b"m") and count < 4096:
            count += len(parse_thread_list(reply))
            reply = self.link.request(b"qsThreadInfo")
        return max(1, count)

    def _was_stopped_silently(self) -> bool:
        """Tell whether connecting stopped the guest although the stub did not say so.

        QEMU's stub told stops that nobody waited for until the release whose monitor knows
        ``one-insn-per-tb``. A guest that was paused by hand cannot be told from one that ran.
        """
        if self.found_state != "paused" or self.description.find(_OF_KLOSDBG):
            return False
        return self._ask_monitor("help one-insn-per-tb") != ""

    def _query_physical(self) -> bool | None:
        reply = self.link.request(b"qqemu.PhyMemMode")
        return None if reply not in (b"0", b"1") else reply == b"1"

    def _query_step_mask(self) -> int | None:
        reply = self.link.request(b"qqemu.sstep")
        if reply == b"" or is_error(reply):
            return None
        if not re.fullmatch(rb"(0x)?[0-9a-fA-F]{1,8}", reply):
            raise garbage("the single-step mask", reply)
        return int(reply, 16)

    def _set_step_mask(self, mask: int) -> None:
        self.link.request(b"Qqemu.sstep=%x" % mask)
