"""Every deliberate exception. Each carries the exit code that ends a batch run."""


class KlosdbgError(Exception):
    """Report, in one line, what went wrong and what to do about it."""

    exit_code = 1


class UsageError(KlosdbgError):
    """Reject a command line, an argument or an expression that cannot be understood."""

    exit_code = 2


class DataError(KlosdbgError):
    """Reject a file (image, capture, profile) that cannot be read."""

    exit_code = 2


class CommandError(KlosdbgError):
    """End a command that was understood but could not do its work."""


class TargetError(KlosdbgError):
    """Report a target that cannot do what was asked of it."""


class MemoryFault(TargetError):
    """Report memory that could not be read or written as a whole.

    ``space`` is ``linear`` or ``physical``; ``address`` and ``size`` (bytes) are the request's.
    ``why`` is the reason where it is another than that nothing is mapped there.
    """

    def __init__(
        self, space: str, address: int, size: int, action: str = "read", why: str = ""
    ) -> None:
        hint = " (phys:0x1000 is physical memory)" if space == "linear" else ""
        reason = why or f"not mapped{hint}"
        super().__init__(f"cannot {action} {size} bytes at {space} {address:#010x}: {reason}")
        self.space = space
        self.address = address
        self.size = size


class TargetRunning(TargetError):
    """Refuse a read that needs a stopped guest."""

    def __init__(self) -> None:
        super().__init__(
            "the guest is running and there is no QMP connection to read through: "
            "add --stop to stop, read and resume, or interrupt it first"
        )


class TargetTimeout(TargetError):
    """Report that the guest did not stop in the time it was given."""


class TargetLost(TargetError):
    """Report a target that cannot be reached, could not be started, or went away."""

    exit_code = 3


class GuestEnded(TargetLost):
    """Report a guest that ended its own machine, and QEMU with it."""

    exit_code = 1


class ProtocolError(TargetLost):
    """Report a peer that does not speak the protocol."""
