"""Snapshots of a guest, taken here or opened, and what differs between them."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable

from klosdbg.captures.difference import compare
from klosdbg.captures.models import DamagedSnapshot, SnapshotInfo, SnapshotList
from klosdbg.captures.opened import Snapshot, snapshot_target
from klosdbg.captures.snapshot import Moment, take_snapshot
from klosdbg.commands.base import arg, command, integer
from klosdbg.errors import CommandError, DataError, UsageError
from klosdbg.models import Result
from klosdbg.ports import Target
from klosdbg.session import Session

_NOW = "now"


@command(
    "snap",
    "take a snapshot of the guest, to compare it or to look at it later",
    arg("why", nargs="*", metavar="WHY", help="what it shows"),
    example="snap before the attack",
    group="record",
    reads=True,
)
def snap(session: Session, args: Namespace) -> Result:
    _no_recording(session)
    return describe(session, take(session, " ".join(args.why) or "snap"))


@command("snaps", "list the snapshots", example="snaps", group="record")
def snaps(session: Session, _args: Namespace) -> Result:
    return SnapshotList(tuple(_listed(session, number) for number in session.snapshots))


@command(
    "at",
    "let every reading command read a snapshot, or the guest again",
    arg("number", metavar="N|now", help="the number of a snapshot, or now"),
    example="at 2",
    group="record",
)
def at(session: Session, args: Namespace) -> Result:
    if args.number == _NOW:
        _no_recording(session)
        session.look_at(None, None)
        return None
    snapshot = _numbered(session, args.number)
    session.look_at(snapshot.number, target_of(session, snapshot))
    return describe(session, snapshot)


@command(
    "diff",
    "show what differs between two snapshots, or a snapshot and now, field by field",
    arg("before", metavar="A", help="the number of a snapshot"),
    arg("after", nargs="?", default=_NOW, metavar="B", help="another one (now)"),
    example="diff 2 3",
    group="record",
    reads=True,
)
def diff(session: Session, args: Namespace) -> Result:
    sides = [_side(session, name) for name in (args.before, args.after)]
    return compare(sides[0], sides[1], session.system_of)


def _no_recording(session: Session) -> None:
    if session.opened:
        raise CommandError(f"{session.opened.name} is a recording: 'snaps' lists its snapshots")


def take(session: Session, why: str) -> Snapshot:
    """Take the next snapshot of the guest, into the capture where there is one."""
    number = max(session.taken, default=0) + 1
    if session.capture is not None:
        taken = session.capture.mark(number, why)
    else:
        taken = take_snapshot(session.live, session.system_of(session.live), Moment(number, why))
    session.taken[number] = taken
    return taken


def _numbered(session: Session, word: str) -> Snapshot:
    try:
        number = integer(word)
    except ArgumentTypeError as error:
        raise UsageError(str(error)) from None
    if number not in session.snapshots:
        known = ", ".join(map(str, session.snapshots)) or "none: 'snap' takes one"
        raise CommandError(f"there is no snapshot {number}; there are {known:.60}")
    try:
        return session.snapshots[number]
    except DataError as error:
        said = f"snapshot {number} cannot be read: {error}: 'snaps' lists the others"
        raise DataError(said) from None


def _side(session: Session, word: str) -> tuple[str, Target]:
    if word == _NOW and not session.opened:
        return _NOW, session.live
    if word == _NOW and session.shown is not None:
        word = str(session.shown)
    snapshot = _numbered(session, word)
    return f"snapshot {snapshot.number}", target_of(session, snapshot)


def target_of(
    session: Session, snapshot: Snapshot, read_console: Callable[[], bytes] | None = None
) -> Target:
    """Make a snapshot a target for every command that reads."""
    opened = session.opened
    return snapshot_target(
        snapshot,
        opened.name if opened else session.live.name,
        read_console or session.live.read_console,
        opened is not None and opened.manifest.redacted,
    )


def _listed(session: Session, number: int) -> SnapshotInfo | DamagedSnapshot:
    try:
        return describe(session, session.snapshots[number])
    except DataError as error:
        assert session.opened
        head = session.opened.snapshots.head(number)
        return DamagedSnapshot(number, str(head.get("why", "")), head["seconds"], str(error))


def describe(session: Session, snapshot: Snapshot) -> SnapshotInfo:
    """Say when and where a snapshot was taken, and how much it holds."""
    cpu = snapshot.cpu
    return SnapshotInfo(
        number=snapshot.number,
        why=snapshot.why,
        seconds=snapshot.seconds,
        events=snapshot.events,
        cs=cpu.segments["cs"].selector,
        eip=cpu.eip,
        symbol=session.symbol(cpu.linear_pc),
        size=sum(map(len, snapshot.linear.values())) + sum(map(len, snapshot.physical.values())),
        shown=snapshot.number == session.shown,
    )
