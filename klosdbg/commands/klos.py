"""What KLOS says of itself, its processes, its services, and what it does when asked."""

from argparse import ArgumentTypeError, Namespace
from dataclasses import replace

from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError
from klosdbg.klos.find import find_klos
from klosdbg.klos.mailbox import ask, run_until_ready
from klosdbg.klos.models import MailboxAnswer, NativeBench
from klosdbg.klos.outcomes import read_bench, read_outcomes
from klosdbg.klos.processes import read_frames, read_processes, read_threads
from klosdbg.klos.system import read_handlers, read_klos, read_services
from klosdbg.models import Result
from klosdbg.read import read_cpu
from klosdbg.running.execution import run_to
from klosdbg.session import Session

_NUMERIC = ("touch", "relocate", "ping", "exit")
_ALL = "--all"


@command(
    "klos",
    "show KLOS's self-description, checked against the processor",
    example="klos",
    group="klos",
    reads=True,
)
def klos(session: Session, _args: Namespace) -> Result:
    described = read_klos(session.target, session.symbols)
    if described.klos.found == "scan":
        session.search_system()
    return described


@command(
    "ps",
    "list the processes",
    arg(_ALL, action="store_true", dest="all", help="also those that have ended"),
    example="ps",
    group="klos",
    reads=True,
)
def ps(session: Session, args: Namespace) -> Result:
    return read_processes(session.target, session.symbols, args.all)


@command("threads", "list the threads", example="threads", group="klos", reads=True)
def threads(session: Session, _args: Namespace) -> Result:
    return read_threads(session.target, session.symbols)


@command("services", "list the services", example="services", group="klos", reads=True)
def services(session: Session, _args: Namespace) -> Result:
    return read_services(session.target, session.symbols)


@command(
    "handlers",
    "list the vectors that have a handler of their own: gate, stub, handler",
    arg(_ALL, action="store_true", dest="all", help="every vector"),
    example="handlers",
    group="klos",
    reads=True,
)
def handlers(session: Session, args: Namespace) -> Result:
    return read_handlers(session.target, session.symbols, args.all)


@command("frames", "show who owns the page frames", example="frames", group="klos", reads=True)
def frames(session: Session, _args: Namespace) -> Result:
    return read_frames(session.target, session.symbols)


@command(
    "mailbox",
    "ask the running guest for something (this writes to the guest)",
    arg("name", metavar="NAME", help="start, run, touch, relocate, selftest, attacks, bench, ping"),
    arg("rest", nargs="*", metavar="N|ARG", help="a number, or an application and its arguments"),
    example="mailbox touch 3",
    group="klos",
)
def mailbox(session: Session, args: Namespace) -> Result:
    words = [args.name, *args.rest]
    if len(words) == 2 and args.name in _NUMERIC:
        return _ask(session, args.name, _number(args.rest[0]))
    return _ask(session, " ".join(words), 0)


@command(
    "selftest",
    "run every self-test of the guest (asks it through the mailbox, which writes to it)",
    example="selftest --json",
    group="klos",
)
def selftest(session: Session, _args: Namespace) -> Result:
    answer = _ask_ready(session, "selftest")
    return replace(read_outcomes(session.target, session.symbols, "selftest"), asked=answer)


@command(
    "bench-services",
    "measure figure 4 in the guest (asks it through the mailbox, which writes to it)",
    arg("--native", action="store_true", help="on the host's own processor instead"),
    example="bench-services --native",
    group="klos",
)
def bench_services(session: Session, args: Namespace) -> Result:
    if args.native:
        return _native(session)
    answer = _ask_ready(session, "bench")
    return replace(read_bench(session.target, session.symbols), asked=answer)


def _native(session: Session) -> NativeBench:
    if session.factories is None:
        raise CommandError("cannot start programs from here: run 'klosdbg run' for --native")
    return NativeBench(session.factories.host_cycles())


def _ask(session: Session, request: str, argument: int) -> MailboxAnswer:
    target, timeout = session.target, session.timeout
    return ask(target, session.symbols, request, argument, timeout, session.progress)


def reach_ready(session: Session) -> None:
    """Let the guest run until KLOS is ready; it stays where it is if ready.

    Raise ``CommandError`` where it runs, or stops before that.
    """
    if session.control.running:
        raise CommandError("the guest is running: 'interrupt' it before you write to it")
    ready = session.symbols.address("klos_ready") if session.symbols else None
    here = read_cpu(session.target).linear_pc
    if here == ready or find_klos(session.target, session.symbols).ready:
        return
    if ready is None:
        run_until_ready(session.target, session.symbols, session.timeout)
        return
    stop = run_to(session, ready, "KLOS did not become ready")
    if stop.linear != ready:
        raise CommandError(f"the guest stopped ({stop.reason}) before KLOS was ready")


def _ask_ready(session: Session, request: str) -> MailboxAnswer:
    reach_ready(session)
    answer = _ask(session, request, 0)
    if answer.failure:
        raise CommandError(answer.failure)
    return answer


def _number(word: str) -> int:
    try:
        return integer(word)
    except ArgumentTypeError as error:
        raise CommandError(str(error)) from None
