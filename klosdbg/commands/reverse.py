"""Going back in a replay: rs, rc."""

import re
from argparse import Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, UsageError
from klosdbg.models import Result
from klosdbg.ports import Reverse
from klosdbg.read import read_gdt, read_idt, read_ldt, resolve_linear
from klosdbg.running.execution import stop_here, wait_for_stop
from klosdbg.session import Session

_SLOT = re.compile(r"(gdt|ldt|idt)\[(\w+)\]")
_READERS = {"gdt": read_gdt, "ldt": read_ldt, "idt": read_idt}
_WORD = 4


@command(
    "rs",
    "go back N instructions (in a replay)",
    arg("count", nargs="?", type=integer, default=1, metavar="N", help="how many (1)"),
    example="rs",
    group="run",
)
def reverse_step(session: Session, args: Namespace) -> Result:
    if not 0 < args.count <= 1000:
        raise UsageError("rs: the count lies between 1 and 1000: each replays from the start")
    back = _reverse(session)
    for _ in range(args.count - 1):
        back.step_back()
    return stop_here(session, back.step_back())


@command(
    "rc",
    "run backwards to a breakpoint, to a write, or to the beginning (in a replay)",
    arg("--to-write", metavar="WHAT", help="gdt[0x173], ldt[2], idt[14] or an ADDRESS"),
    example="rc --to-write gdt[0x173]",
    group="run",
)
def reverse_continue(session: Session, args: Namespace) -> Result:
    back = _reverse(session)
    if args.to_write is not None:
        return stop_here(session, back.back_to_write(*_place(session, args.to_write)))
    back.resume_back()
    return wait_for_stop(session)


def _reverse(session: Session) -> Reverse:
    if session.control.running:
        raise CommandError("the guest is running: 'interrupt' it before you go back")
    if session.target.reverse is None:
        raise CommandError(
            f"{session.target.name} cannot go back: 'klosdbg capture --deterministic' records "
            "what 'klosdbg replay' can"
        )
    return session.target.reverse


def _place(session: Session, wanted: str) -> tuple[int, int]:
    slot = _SLOT.fullmatch(wanted)
    if slot is None:
        return resolve_linear(session.target, session.symbols, wanted), _WORD
    table = _READERS[slot[1]](session.target)
    index = int(slot[2], 0) if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9]+", slot[2]) else -1
    if not 0 <= index < table.slots:
        raise CommandError(
            f"{wanted}: the {slot[1].upper()}'s entries are 0 to {table.slots - 1} here: give the "
            "entry's ADDRESS"
        )
    return table.base + index * table.entry_size, table.entry_size
