"""DSOS, the secret data selector: where it is, and whether everything agrees."""

from argparse import Namespace
from collections.abc import Iterator

from klosdbg.commands.base import arg, command, integer
from klosdbg.commands.klos import reach_ready
from klosdbg.errors import UsageError
from klosdbg.klos.audit.every import audit_each
from klosdbg.klos.audit.run import audit
from klosdbg.klos.audit.triggered import audit_triggered
from klosdbg.klos.dsos import read_dsos
from klosdbg.klos.dsos_models import Audited, AuditSum
from klosdbg.klos.gadgets.search import find_gadgets
from klosdbg.klos.trigger import WAYS, Trigger
from klosdbg.klos.watch import relocations_of, watch_frames
from klosdbg.models import Result
from klosdbg.session import Session


@command(
    "dsos",
    "show where DSOS is, and every prologue's immediate, decoded and compared",
    arg("--sites", action="store_true", help="list every site, not those alone that disagree"),
    example="dsos",
    group="klos",
    reads=True,
)
def dsos(session: Session, args: Namespace) -> Result:
    return read_dsos(session.target, session.symbols, args.sites)


@command(
    "dsos audit",
    "check that everything about DSOS agrees: tables, prologues, contexts, applications",
    arg(
        "--at-every-relocation",
        type=integer,
        metavar="N",
        dest="each",
        help="let the guest run, and audit it after each of the next N relocations",
    ),
    example="dsos audit",
    group="klos",
    reads=True,
)
def dsos_audit(session: Session, args: Namespace) -> Result:
    if args.each is None:
        return audit(session.target, session.symbols)
    return audit_each(session.target, session.symbols, _positive(args.each), session.timeout)


@command(
    "dsos trigger",
    "make the guest relocate DSOS, and show each relocation (this writes to the guest)",
    arg("count", nargs="?", type=integer, default=1, metavar="N", help="how often (1)"),
    arg(
        "--how",
        choices=WAYS,
        default="probe",
        help="an application's faults, the mailbox, or a call from the timer's handler (probe)",
    ),
    arg("--audit", action="store_true", help="audit after each, and list what is found"),
    example="dsos trigger 3 --how mailbox",
    group="klos",
)
def dsos_trigger(session: Session, args: Namespace) -> Result:
    count = _positive(args.count)
    reach_ready(session)
    trigger = Trigger(session.target, session.symbols, session.timeout)
    if not args.audit:
        return trigger.relocate(args.how, count, session.progress)
    audits = audit_triggered(trigger, args.how, count, session.progress)
    return audits if args.json or session.json else _worth_telling(audits)


def _worth_telling(audits: Iterator[Audited | AuditSum]) -> Iterator[Audited | AuditSum]:
    """Leave out the audits that found nothing."""
    for told in audits:
        if isinstance(told, AuditSum) or told.findings.findings:
            yield told


def _positive(count: int) -> int:
    if count < 1:
        raise UsageError("the count is at least 1")
    return count


@command(
    "dsos watch",
    "show relocations as they happen, while the guest runs at full speed",
    arg("--events", type=integer, metavar="N", help="end after N relocations (else Ctrl-C)"),
    example="dsos watch --events 100",
    group="klos",
)
def dsos_watch(session: Session, args: Namespace) -> Result:
    wanted = None if args.events is None else _positive(args.events)
    target = session.target
    frames = watch_frames(target, session.symbols, wanted, session.timeout)
    return relocations_of(frames) if args.json or session.json else frames


@command(
    "dsos gadgets",
    "search executable pages for code that helps whoever jumps to it",
    arg("--all", action="store_true", dest="every", help="list every one, not the first of a kind"),
    example="dsos gadgets --all",
    group="klos",
    reads=True,
)
def dsos_gadgets(session: Session, args: Namespace) -> Result:
    return find_gadgets(session.target, session.symbols, args.every)
