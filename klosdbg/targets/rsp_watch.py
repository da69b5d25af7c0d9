"""Watchpoints of a GDB stub."""

from klosdbg.errors import TargetError
from klosdbg.ports import WatchKind
from klosdbg.targets.rsp_stub import RspStub

_NUMBERS: dict[WatchKind, int] = {"watch": 2, "rwatch": 3, "awatch": 4}


class RspWatchpoints:
    """Watchpoints at linear addresses, set while the guest is stopped."""

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub

    def insert(self, kind: WatchKind, address: int, size: int) -> None:
        """Stop after each access of a kind to ``size`` bytes, or raise ``TargetError``."""
        self._change(b"Z", kind, address, size)

    def remove(self, kind: WatchKind, address: int, size: int) -> None:
        """Take away a watchpoint that is set."""
        self._change(b"z", kind, address, size)

    def _change(self, sign: bytes, kind: WatchKind, address: int, size: int) -> None:
        request = b"%b%d,%x,%x" % (sign, _NUMBERS[kind], address, size)
        if self._stub.ask(request) != b"OK":
            raise TargetError(f"the stub refused {request.decode()}: remove some watchpoints")
