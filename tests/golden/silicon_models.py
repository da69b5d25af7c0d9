"""What ``silicon`` shows, with a fixed content."""

from collections.abc import Iterator
from dataclasses import replace

from klosdbg.models import Written
from klosdbg.silicon.models import Refused, SiliconReport
from klosdbg.x86.silicon import Violation
from tests.processors import CODE_X, RO, segment

SMALL = segment("ss", 0xFFF)
PUSHED = Refused(
    violation=Violation("limit", 12, 0, "ss", 0x1000, 4, "write", SMALL, 0xC760),
    cs=0x1B,
    eip=0xC760,
    linear=0x10C760,
    place=0x5000,
    cpl=3,
    symbol="klos_ready",
    instruction="push eax",
    raw=b"\x50",
)
DELIVERED = (
    Written("0x0010fffc", "0x00000000", "0x00000023"),
    Written("eflags", "0x246", "0x46"),
    Written("eip", "0xc760", "0xc0103f30"),
)


def silicon() -> Iterator[tuple[str, object]]:
    """Yield runs that found nothing, one refusal, and one of each kind of sentence."""
    clean = SiliconReport((), 10000, "count", 0x1B, 0xC760, 0x10C760, "klos_ready")
    yield "silicon-none", clean
    yield (
        "silicon-delivered",
        replace(
            clean, refused=(replace(PUSHED, delivered=DELIVERED),), instructions=1, end="until"
        ),
    )
    yield "silicon-kinds", replace(clean, refused=tuple(kinds()), end="interrupt", symbol=None)


def kinds() -> Iterator[Refused]:
    """Yield a refusal by type, by fetch, by alignment, ICEBP, and by ring."""
    data, code = segment("ds", kind=RO), segment("cs", 0xFFF, CODE_X)
    read_only = Violation("read-only", 13, 0, "ds", 0x10, 1, "write", data, 0xC760)
    yield replace(PUSHED, violation=read_only, instruction="mov byte ptr [ebx], 0x5a")
    beyond = Violation("code-limit", 13, 0, "cs", 0x1000, 1, "execute", code, 0x1000)
    yield replace(PUSHED, violation=beyond, instruction="nop", followed=19, symbol=None)
    odd = Violation("alignment", 17, 0, "ds", 0x101, 4, "read", data, 0xC760)
    yield replace(PUSHED, violation=odd, instruction="mov eax, dword ptr [0x101]")
    trap = Violation("icebp", 1, None, "cs", 0xC760, 1, "execute", code, 0xC761)
    yield replace(PUSHED, violation=trap, instruction="int1", raw=b"\xf1")
    ring = Violation("privilege", 13, 0, "cs", 0xC760, 2, "execute", code, 0xC760)
    yield replace(PUSHED, violation=ring, instruction="wbinvd", raw=b"\x0f\x09")
