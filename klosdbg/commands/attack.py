"""The protection on trial: the guest's attacks, and how often DSOS is guessed."""

from argparse import Namespace

from klosdbg.commands.base import arg, command, integer
from klosdbg.commands.klos import reach_ready
from klosdbg.errors import UsageError
from klosdbg.klos.attack import ALL, attack_names, chosen_names, run_attacks
from klosdbg.klos.guessing import KLOS_SLOTS, Ask, measure, simulate
from klosdbg.klos.mailbox import ask
from klosdbg.klos.models import MailboxAnswer
from klosdbg.models import Result
from klosdbg.session import Session

_GUESS = "guess"
_SEED = 1


@command(
    "attack",
    "run an attack of the guest, or all (asks it through the mailbox, which writes to it)",
    arg("name", nargs="?", default=ALL, metavar="NAME", help="which: guess, lar-scan, ... (all)"),
    arg("--rounds", type=integer, metavar="N", help="guess: N rounds of three, and statistics"),
    arg("--simulate", type=integer, metavar="N", help="guess: the same on the host, no guest"),
    arg("--seed", type=integer, default=_SEED, metavar="N", help="of --simulate (1)"),
    arg("--slots", type=integer, default=KLOS_SLOTS, metavar="N", help="of --simulate (16375)"),
    example="attack guess --simulate 1000000",
    group="klos",
    aliases=("attacks",),
)
def attack(session: Session, args: Namespace) -> Result:
    _check_usage(args)
    if args.simulate:
        return simulate(args.simulate, args.slots, args.seed)
    reach_ready(session)
    if args.rounds:
        return measure(session.target, session.symbols, args.rounds, _asking(session))
    names = chosen_names(attack_names(session.target, session.symbols), args.name)
    return run_attacks(session.target, session.symbols, names, _asking(session))


def _check_usage(args: Namespace) -> None:
    wanted = [n for n in (args.rounds, args.simulate) if n is not None]
    if wanted and args.name != _GUESS:
        raise UsageError(f"attack {args.name}: --rounds and --simulate belong to 'attack guess'")
    if len(wanted) > 1 or any(n < 1 for n in wanted):
        raise UsageError("attack guess: one of --rounds N and --simulate N, N at least 1")


def _asking(session: Session) -> Ask:
    def asked(request: str, argument: int) -> MailboxAnswer:
        target = session.target
        return ask(target, session.symbols, request, argument, session.timeout, session.progress)

    return asked
