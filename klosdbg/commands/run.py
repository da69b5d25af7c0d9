"""Letting the guest run and stopping it: c, s, n, until, finish, interrupt, reset, detach, quit."""

from argparse import Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, UsageError
from klosdbg.models import Result, Running
from klosdbg.read import resolve_code
from klosdbg.running.execution import (
    finish_frame,
    run_to,
    run_until_stop,
    step_instructions,
    step_over_instructions,
    stop_here,
)
from klosdbg.session import Session

_COUNT = arg("count", nargs="?", type=integer, default=1, metavar="N", help="how many (1)")


@command(
    "c",
    "let the guest run until it stops; 'c &' returns at once",
    arg("background", nargs="?", choices=["&"], metavar="&", help="return while it runs"),
    example="c",
    group="run",
    aliases=("continue",),
)
def continue_(session: Session, args: Namespace) -> Result:
    if not args.background:
        return run_until_stop(session)
    if session.tracer is not None and session.tracer.stopping:
        raise CommandError("'c &' would outrun the recorder's stops: 'c', or record with --ring")
    session.control.resume()
    session.in_background = True
    return Running()


@command(
    "s",
    "execute N instructions, into calls",
    _COUNT,
    example="s 10",
    group="run",
    aliases=("step", "si"),
)
def step(session: Session, args: Namespace) -> Result:
    return step_instructions(session, _positive(args.count))


@command(
    "n",
    "execute N instructions, over calls, software interrupts and repeats",
    _COUNT,
    example="n",
    group="run",
    aliases=("next", "ni"),
)
def next_(session: Session, args: Namespace) -> Result:
    return step_over_instructions(session, _positive(args.count))


@command(
    "until",
    "let the guest run until it reaches an address",
    arg("address", completes="symbol", metavar="ADDRESS", help="symbol+n, sel:off or 0xlinear"),
    example="until klos_ready",
    group="run",
)
def until(session: Session, args: Namespace) -> Result:
    address = resolve_code(session.target, session.symbols, args.address)
    return run_to(session, address, f"{args.address} was not reached")


@command("finish", "run until the current function returns", example="finish", group="run")
def finish(session: Session, _args: Namespace) -> Result:
    return finish_frame(session)


@command("interrupt", "stop a running guest", example="interrupt", group="run")
def interrupt(session: Session, _args: Namespace) -> Result:
    if not session.control.running:
        raise CommandError("the guest is stopped already")
    return stop_here(session, session.control.interrupt())


@command(
    "reset", "reset the machine and stop at its first instruction", example="reset", group="run"
)
def reset(session: Session, _args: Namespace) -> Result:
    return stop_here(session, session.control.reset())


@command("detach", "leave the target as it was found; stay here", example="detach", group="run")
def detach(session: Session, _args: Namespace) -> Result:
    name = session.target.name
    session.detach()
    session.warn(f"detached from {name}")
    return None


@command("quit", "leave klosdbg", example="quit", group="run", aliases=("q", "exit"))
def quit_(session: Session, _args: Namespace) -> Result:
    session.leaving = True
    return None


def _positive(count: int) -> int:
    if count < 1:
        raise UsageError("the count is at least 1")
    return count
