"""What hardware would have done: silicon."""

from argparse import Namespace
from collections.abc import Iterator

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, UsageError
from klosdbg.models import Model, Result
from klosdbg.read import resolve_code
from klosdbg.session import Session
from klosdbg.silicon.run import Bounds, SiliconRun
from klosdbg.silicon.scope import Everywhere, InProcess, InRange, Scope

_COUNT = 10000


@command(
    "silicon",
    "step, and report each access that passes though hardware would refuse it",
    arg("-n", type=integer, dest="count", metavar="N", help=f"judge N instructions ({_COUNT})"),
    arg("--until", completes="symbol", metavar="ADDRESS", help="end where this is reached"),
    arg(
        "--range",
        nargs=2,
        completes="symbol",
        metavar=("A", "B"),
        help="judge code from A to B; elsewhere the guest runs at full speed",
    ),
    arg("--process", metavar="P", help="judge what this process of KLOS executes: name or pid"),
    arg(
        "--deliver",
        action="store_true",
        help="make the guest take the exception (this changes the guest)",
    ),
    example="silicon --until klos_ready",
    group="run",
)
def silicon(session: Session, args: Namespace) -> Result:
    if session.control.running:
        raise CommandError("the guest is running: 'interrupt' it before you step it")
    if session.tracer is not None:
        raise CommandError("events are being recorded: 'events stop' first, then step")
    run = SiliconRun(
        session.target,
        session.symbols,
        _bounds(session, args),
        _scope(session, args),
        delivers=args.deliver,
        breakpoints=[b.address for b in session.breakpoints],
        progress=session.progress,
    )
    return _reported(session, run)


def _reported(session: Session, run: SiliconRun) -> Iterator[Model]:
    report = run.run()
    yield report
    if report.end == "interrupt" and not session.interactive:
        raise KeyboardInterrupt


def _bounds(session: Session, args: Namespace) -> Bounds:
    if args.count is not None and args.count < 1:
        raise UsageError("silicon: the count is at least 1")
    until = _address(session, args.until) if args.until else None
    endless = until is not None or args.range or args.process
    return Bounds(
        count=args.count or (None if endless else _COUNT),
        until=until,
        seconds=session.timeout,
    )


def _scope(session: Session, args: Namespace) -> Scope:
    if args.range and args.process:
        raise UsageError("silicon: one of --range and --process")
    if args.process:
        return InProcess(session.target, session.search_system(), args.process)
    if not args.range:
        return Everywhere()
    first, last = (_address(session, wanted) for wanted in args.range)
    if first > last:
        raise UsageError("silicon: the range ends before it begins: write --range A B, A first")
    return InRange(session.target, session.symbols, first, last)


def _address(session: Session, wanted: str) -> int:
    return resolve_code(session.target, session.symbols, wanted)
