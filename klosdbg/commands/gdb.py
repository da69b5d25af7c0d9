"""gdb: its commands on the guest's own symbols and source."""

from argparse import Namespace
from collections.abc import Iterator

from klosdbg.commands.base import arg, command
from klosdbg.errors import CommandError
from klosdbg.models import GdbOutput, Model, Result, Stop
from klosdbg.read import read_cpu
from klosdbg.running.execution import stop_here
from klosdbg.session import Debugger, Session

_TAKES_MORE_LINES = {"commands", "define", "document", "while", "if"}

_QUITS = {"quit", "q", "exit"}


@command(
    "gdb",
    "run a command of gdb on this guest: source, variables, types; alone, start gdb",
    arg("line", nargs="?", metavar="COMMAND", help="what to type into gdb"),
    example="gdb list klos_ready",
    group="tools",
    takes_line=True,
)
def gdb(session: Session, args: Namespace) -> Result:
    word = args.line.partition(" ")[0]
    if word in _TAKES_MORE_LINES or args.line in ("python", "py"):
        raise CommandError(
            f"gdb's {word!r} takes more lines than one: 'gdb source FILE' reads them"
        )
    if session.target.control and session.control.running:
        raise CommandError("the guest is running: 'interrupt' it first, gdb looks at a stopped one")
    if word in _QUITS:
        session.leave_debugger()
        return GdbOutput(args.line, "gdb is gone: 'gdb COMMAND' starts it again\n")
    debugger = _attached(session)
    debugger.see(read_cpu(session.target))
    if not args.line:
        return GdbOutput("", "gdb is attached: what klosdbg does not know goes to it\n")
    return _run(session, debugger, args.line, whole=args.json or session.json)


def _attached(session: Session) -> Debugger:
    if session.debugger is not None and session.debugger.ended:
        session.leave_debugger()
    if session.debugger is None:
        if session.factories is None:
            raise CommandError("gdb cannot be started from here: 'klosdbg run' and the like can")
        session.debugger = session.factories.debugger(session)
    return session.debugger


def _run(session: Session, debugger: Debugger, line: str, whole: bool) -> Iterator[Model]:
    """Yield what gdb says, in pieces or as a whole, then where the guest stopped if it ran."""
    said: list[str] = []
    failure, interrupted = None, False
    try:
        for piece in debugger.run(line, session.timeout):
            if whole:
                said.append(piece)
            else:
                yield GdbOutput(line, piece)
    except CommandError as error:
        failure = str(error)
    except KeyboardInterrupt:
        interrupted = True
    stop = _stop(session, debugger)
    if whole:
        yield GdbOutput(line, "".join(said), None if stop else failure)
    if stop:
        yield stop
    if failure and (stop or not whole):
        raise CommandError(failure)
    if interrupted and not session.interactive:
        raise KeyboardInterrupt


def _stop(session: Session, debugger: Debugger) -> Stop | None:
    event = session.control.wait(0) if debugger.resumed else None
    stop = stop_here(session, event) if event else None
    debugger.saw(read_cpu(session.target))
    return stop
