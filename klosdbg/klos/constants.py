"""The numbers of ``guest/include/klos_abi.h``: ``Flag.READY`` is the header's KLOS_FLAG_READY."""

from enum import IntEnum, IntFlag

ABI_VERSION = 1
NONE = 0xFFFF_FFFF
IRQS = 16


class Flag(IntFlag):
    """The state of the system: ``klos_info.flags``."""

    BOOTED = 0x01
    READY = 0x02
    PANIC = 0x04
    SEED_FIXED = 0x08
    SYSENTER = 0x10
    ENFORCED = 0x20
    WBINVD_REFUSED = 0x40


class Request(IntFlag):
    """What a handler asks of the event core: ``klos_frame.request``."""

    FLUSH = 0x01
    IDLE = 0x02
    HALT = 0x04
    SYSENTER = 0x08
    CACHES = 0x10


class Origin(IntEnum):
    """Where an event came from: ``klos_frame.origin``."""

    RING3 = 0
    IDLE = 1
    GATE = 2


class Event(IntFlag):
    """What happened in an event: ``klos_event.flags``."""

    FLUSHED = 0x01
    EOI = 0x02
    IDLE = 0x04
    SWITCHED = 0x08
    OS = 0x10


class Site(IntEnum):
    """What holds the DSOS selector: ``klos_site.kind``."""

    DESIGN_B = 0
    DESIGN_A = 1
    EVENT_CORE = 2
    BARE = 3
    SYSENTER = 4


class State(IntEnum):
    """The state of a process or a thread."""

    FREE = 0
    READY = 1
    RUNNING = 2
    BLOCKED = 3
    ENDED = 4


class Wait(IntEnum):
    """Why a thread is blocked: ``klos_thread.wait``."""

    NONE = 0
    SLEEP = 1
    RECEIVE = 2
    SEND = 3
    PROCESS = 4
    KEY = 5
    EVENT = 6


class Cause(IntEnum):
    """Why DSOS was relocated: ``klos_relocation.cause``."""

    BOOT = 0
    NP = 1
    MAILBOX = 2
    ATTACK = 3


class Result(IntEnum):
    """The outcome of a self-test or an attack: ``klos_report.result``."""

    NONE = 0
    PASS = 1
    FAIL = 2
    NOT_ENFORCED = 3


class Mailbox(IntEnum):
    """Where a request stands: ``klos_mailbox.status``."""

    EMPTY = 0
    REQUEST = 1
    RUNNING = 2
    DONE = 3
    ERROR = 4


class Process(IntFlag):
    """What is special about a process: ``klos_process.flags``."""

    SYSTEM = 0x01
    CAUGHT = 0x02


class Frame(IntEnum):
    """Owners of page frames that are no pid: entries of ``klos_info.frames``."""

    FREE = 0xFFFF
    RESERVED = 0xFFFE
    IMAGE = 0xFFFD
    OS = 0xFFFC
    SHARED = 0xFFFB


class Application(IntEnum):
    """What an application is for: ``klos_application.kind``."""

    ORDINARY = 0
    SELFTEST = 1
    ATTACK = 2


ENUMS: tuple[type[IntEnum] | type[IntFlag], ...] = (
    Flag,
    Request,
    Origin,
    Event,
    Site,
    State,
    Wait,
    Cause,
    Result,
    Mailbox,
    Process,
    Frame,
    Application,
)


def label(kind: type[IntEnum], value: int) -> str:
    """Name a number in lower case with hyphens, or show it where the header has no such name."""
    try:
        return kind(value).name.lower().replace("_", "-")
    except ValueError:
        return f"{value:#x}?"


def flag_labels(kind: type[IntFlag], value: int) -> str:
    """Name the bits that are set, with spaces between; unknown bits as one number."""
    known = [flag for flag in kind if value & flag]
    rest = value & ~sum(known)
    names = [str(flag.name).lower().replace("_", "-") for flag in known]
    return " ".join(names + ([f"{rest:#x}?"] if rest else []))
