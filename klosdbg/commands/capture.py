"""Recording a session for others."""

import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from klosdbg.captures.capture import Capture, RunFacts
from klosdbg.captures.expectation import check_expectation
from klosdbg.captures.models import (
    CaptureNote,
    CaptureState,
    CaptureSummary,
    Exported,
)
from klosdbg.captures.opened import Opened
from klosdbg.commands.base import arg, command
from klosdbg.commands.snapshots import describe, take, target_of
from klosdbg.errors import CommandError, DataError, KlosdbgError, TargetLost, UsageError
from klosdbg.events.event import Event
from klosdbg.events.export import export_csv, export_json, export_perfetto
from klosdbg.models import Result
from klosdbg.session import Session
from klosdbg.systems import find_system
from klosdbg.wire.bundle import VERSIONS, seconds_of
from klosdbg.wire.stored_symbols import NamedAddresses

FORMATS: dict[str, Callable[[Sequence[Event]], str]] = {
    "json": export_json,
    "csv": export_csv,
    "perfetto": export_perfetto,
    "html": lambda _events: "",
}


@command(
    "capture start",
    "record this session into a file that 'klosdbg open' reads anywhere",
    arg("file", metavar="FILE", help="the capture: bug.klos"),
    arg("--redact", action="store_true", help="keep structures, drop other memory"),
    example="capture start bug.klos",
    group="record",
)
def capture_start(session: Session, args: Namespace) -> Result:
    if session.capture is not None:
        raise CommandError(f"{session.capture.path} is being recorded: 'capture stop' ends it")
    start_capture(session, Path(args.file), args.redact)
    return _state(session)


@command(
    "capture note",
    "record a remark",
    arg("text", nargs="+", metavar="TEXT", help="what to remember"),
    example='capture note "the second relocation loses a site"',
    group="record",
)
def capture_note(session: Session, args: Namespace) -> Result:
    capture = _running(session)
    capture.note("note", " ".join(args.text))
    return CaptureNote("note", " ".join(args.text), capture.seconds)


@command(
    "capture mark",
    "record a snapshot of the guest as it is now",
    arg("why", nargs="*", metavar="WHY", help="what it shows"),
    example="capture mark before the relocation",
    group="record",
    reads=True,
)
def capture_mark(session: Session, args: Namespace) -> Result:
    _running(session)
    return describe(session, take(session, " ".join(args.why) or "mark"))


@command(
    "capture stop",
    "take a last snapshot and write the capture",
    example="capture stop",
    group="record",
)
def capture_stop(session: Session, _args: Namespace) -> Result:
    _running(session)
    return stop_capture(session)


@command("capture info", "say what the open capture holds", example="capture info", group="record")
def capture_info(session: Session, _args: Namespace) -> Result:
    if session.opened is None:
        raise CommandError("no capture is open: 'klosdbg open FILE' opens one")
    return _summary(session.opened)


@command(
    "expect",
    "fail unless an expression over events, console and registers holds",
    arg("line", metavar="EXPR", help="over events, relocations, console, eip, eax, ..."),
    example="expect events[-1].vector == 11",
    group="record",
    takes_line=True,
)
def expect(session: Session, args: Namespace) -> Result:
    if not args.line:
        raise UsageError("expect: of what? write it out: expect events[-1].vector == 11")
    expectation = check_expectation(session, args.line)
    if session.capture is not None:
        session.capture.note("expect", expectation.expression, held=expectation.held)
    return expectation


@command(
    "export",
    "write the events, or a report of the open capture, for other programs",
    arg("format", choices=tuple(FORMATS), help="json, csv, perfetto; html: the report"),
    arg("file", metavar="FILE", help="where to"),
    example="export perfetto trace.json",
    group="record",
)
def export(session: Session, args: Namespace) -> Result:
    content = _exported(session, args.format)
    try:
        _write(Path(args.file), content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(f"cannot write {args.file}: {reason}: choose another place") from None
    return Exported(args.format, args.file, len(session.events), len(content.encode()))


def _write(path: Path, content: str) -> None:
    """Write a file, or none: a part of one would be taken for the whole."""
    with path.open("w", encoding="utf-8", newline="") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            if path.is_file():
                path.unlink()
            raise


def _exported(session: Session, form: str) -> str:
    if form != "html":
        return FORMATS[form](session.events)
    from klosdbg.captures.report.facts import gather
    from klosdbg.captures.report.page import report_page

    if session.opened is None:
        raise CommandError("a report is made of an open capture: 'klosdbg open FILE'")
    return report_page(gather(session.opened, session.symbols, session.system_of))


def start_capture(
    session: Session, path: Path, redact: bool = False, reserved: bool = False
) -> None:
    """Begin to record, with a snapshot; raise ``CommandError`` where nothing can run."""
    facts = session.describe() if session.describe else RunFacts()
    if session.live.control is None:
        raise CommandError(f"{session.live.name} is a recording already")
    session.capture = Capture(
        path,
        session.live,
        session.symbols,
        find_system,
        facts,
        redact,
        reserved,
        session.warn,
    )
    take(session, "start")


def stop_capture(session: Session, ended: str = "stopped", lost: bool = False) -> CaptureState:
    """Take the last snapshot, unless the guest is ``lost``, and write the capture."""
    capture = _running(session)
    try:
        if not lost:
            take(session, "end")
        state = _state(session)
        capture.settle()
        if capture.replayable:
            session.detach()
        path = capture.finish(ended, _report(session, capture, ended))
    finally:
        session.capture = None
    return CaptureState("written", str(path), state.events, state.snapshots, state.seconds)


def _report(session: Session, capture: Capture, ended: str) -> bytes:
    """Make the report out of what was recorded; a recording that ended early gets none."""
    from klosdbg.captures.report.facts import gather
    from klosdbg.captures.report.page import report_page
    from klosdbg.wire.bundle_directory import directory_members
    from klosdbg.wire.bundle_read import open_bundle

    if capture.ended is not None:
        return b""
    bundle = open_bundle(directory_members(capture.directory), unfinished=True)
    bundle.damage.clear()
    bundle.manifest = replace(bundle.manifest, ended=ended)
    facts = gather(Opened(capture.path.name, bundle), session.symbols, session.system_of)
    return report_page(facts).encode()


def leave_capture(session: Session, error: BaseException | None) -> None:
    """Write the capture of a session that ends, and say where it is; an error is recorded."""
    ended = _told(error)
    if error is not None:
        _running(session).note("error", ended)
    lost = isinstance(error, TargetLost)
    state = stop_capture(session, ended, lost)
    if lost:
        session.warn(f"the capture holds what there was: {state.where}")
        return
    session.warn(f"captured {state.where}: {state.events} events, {state.snapshots} snapshots")


def _told(error: BaseException | None) -> str:
    if error is None:
        return "stopped"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    return str(error) if isinstance(error, KlosdbgError) else type(error).__name__


def show_capture(session: Session, opened: Opened) -> None:
    """Look at a capture: at its last snapshot, or at what there is without one."""
    session.opened = opened
    session.events = opened.events
    if session.symbols is None:
        session.symbols = NamedAddresses(opened.bundle.symbols())
    for number in reversed(list(opened.snapshots)):
        try:
            snapshot = opened.snapshots[number]
        except DataError as error:
            opened.bundle.damage.append(str(error))
            continue
        session.attach(target_of(session, snapshot, lambda: opened.bundle.console))
        session.shown = number
        break
    if opened.bundle.damage:
        session.warn(f"{opened.name} is damaged: {opened.bundle.damage_line()}")


def _running(session: Session) -> Capture:
    if session.capture is None:
        raise CommandError("nothing is being recorded: 'capture start FILE' begins")
    return session.capture


def _state(session: Session) -> CaptureState:
    capture = _running(session)
    where, seconds = str(capture.directory), capture.seconds
    return CaptureState("recording", where, capture.events, capture.snapshots, seconds)


def _summary(opened: Opened) -> CaptureSummary:
    manifest = opened.manifest
    names = (*VERSIONS, "target", "image", "started", "finished", "ended")
    facts = {name: str(value) for name in names if (value := getattr(manifest, name))}
    facts["command"] = shlex.join(manifest.command_line)
    return CaptureSummary(
        name=opened.name,
        facts=facts,
        events=len(opened.events),
        relocations=len(opened.relocations),
        snapshots=len(opened.snapshots),
        notes=tuple(_note(line) for line in opened.notes),
        damage=opened.bundle.damage_line(),
    )


def _note(line: dict[str, object]) -> CaptureNote:
    seconds = seconds_of(line.get("seconds")) or 0.0
    return CaptureNote(str(line.get("kind", "")), str(line.get("text", "")), seconds)
