"""Breakpoints: b, info b, del."""

from argparse import Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError
from klosdbg.models import BreakpointInfo, BreakpointList, Result
from klosdbg.read import resolve_code
from klosdbg.session import Breakpoint, Session


@command(
    "b",
    "set a breakpoint at an address",
    arg(
        "address",
        completes="symbol",
        metavar="ADDRESS",
        help="symbol+n, file.c:12, sel:off or 0xlinear",
    ),
    example="b return_gate",
    group="breakpoints",
    aliases=("break",),
)
def set_breakpoint(session: Session, args: Namespace) -> Result:
    address = resolve_code(session.target, session.symbols, args.address)
    return _info(session.add_breakpoint(address, args.address))


@command(
    "info b",
    "list the breakpoints",
    example="info b",
    group="breakpoints",
    aliases=("info break", "info breakpoints"),
)
def list_breakpoints(session: Session, _args: Namespace) -> Result:
    gdbs = session.debugger.breakpoints if session.debugger else ()
    return BreakpointList(tuple(map(_info, session.breakpoints)), gdbs)


@command(
    "del",
    "delete breakpoints by number, or all of them",
    arg("numbers", nargs="*", type=integer, metavar="N", help="its number in 'info b'"),
    example="del 1",
    group="breakpoints",
    aliases=("delete", "d"),
)
def delete(session: Session, args: Namespace) -> Result:
    known = {breakpoint.number: breakpoint for breakpoint in session.breakpoints}
    for number in args.numbers:
        if number not in known:
            raise CommandError(f"no breakpoint {number}: 'info b' lists them")
    for number in args.numbers or list(known):
        session.delete_breakpoint(known[number])
    return list_breakpoints.run(session, args)


def _info(breakpoint: Breakpoint) -> BreakpointInfo:
    return BreakpointInfo(breakpoint.number, breakpoint.address, breakpoint.wanted, breakpoint.hits)
