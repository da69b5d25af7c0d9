"""Capturing a session: events, relocations, console, notes and snapshots, into a file."""

import json
import platform
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from klosdbg.captures.snapshot import Moment, take_snapshot
from klosdbg.captures.symbol_list import named_ranges
from klosdbg.captures.writer import CaptureWriter
from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.events.document import event_data
from klosdbg.events.event import Event
from klosdbg.interrupts import interrupts_deferred
from klosdbg.ports import Symbols, Target
from klosdbg.system import FindSystem, Row
from klosdbg.wire.bundle import (
    CONSOLE,
    EVENTS,
    MOST_SNAPSHOTS,
    NOTES,
    RELOCATIONS,
    REPORT,
    SYMBOLS,
    Manifest,
    Snapshot,
)

RELOCATION_SCHEMA = "klosdbg/relocation/1"
_POLL = 0.5
_COUNT = re.compile(r"instruction count = (\d+)")
_VERSION = re.compile(r"\d+(\.\d+)+")

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the manifest says of this run that no target knows."""

    gdb: str = ""
    command_line: tuple[str, ...] = ()
    image: str = ""
    image_sha256: str = ""
    replay: Mapping[str, Any] | None = None


class Capture:
    """A session that is being captured. ``failed`` counts the expectations that did not hold."""

    def __init__(
        self,
        path: Path,
        target: Target,
        symbols: Symbols | None,
        find_system: FindSystem,
        facts: RunFacts,
        redact: bool = False,
        reserved: bool = False,
        warn: Warn = lambda _message: None,
    ) -> None:
        self._target = target
        self._symbols = symbols
        self._find_system = find_system
        self._warn = warn
        self._redact = redact
        self._writer = CaptureWriter(path, _manifest(target, facts, redact), reserved)
        self._began = time.monotonic()
        self._polled = 0.0
        self._console = 0
        self._relocations = 0
        self._named = False
        self._recordings = 0
        self.events = 0
        self.snapshots = 0
        self.failed = 0

    @property
    def path(self) -> Path:
        """Where the capture will be."""
        return self._writer.path

    @property
    def directory(self) -> Path:
        """Where it is written until then."""
        return self._writer.directory

    @property
    def ended(self) -> str | None:
        """Why it takes nothing more; None while it does."""
        return self._writer.ended

    @property
    def seconds(self) -> float:
        """The time since it began."""
        return time.monotonic() - self._began

    def event(self, event: Event, first: bool = False) -> None:
        """Record an event; the ``first`` of a recording begins to count anew."""
        self.events += 1
        self._recordings += first
        self._line(EVENTS, {**event_data(event), "recording": self._recordings})
        if self.seconds - self._polled > _POLL:
            self.poll()

    def note(self, kind: str, text: str, **more: object) -> None:
        """Record a note, a mark or an expectation."""
        place = {"seconds": round(self.seconds, 6), "events": self.events}
        self._line(NOTES, {"kind": kind, "text": text, **place, **more})

    def mark(self, number: int, why: str) -> Snapshot:
        """Take and store a snapshot, or raise ``CommandError`` where there are too many.

        A capture that has ended does not keep it.
        """
        if number > MOST_SNAPSHOTS:
            raise CommandError(f"{MOST_SNAPSHOTS} snapshots are the limit: 'capture stop' here")
        system = self._find_system(self._target, self._symbols, search=True)
        self._symbols = system.symbols or self._symbols
        moment = Moment(number, why, self.seconds, self.events)
        self._write_symbols()
        snapshot = take_snapshot(self._target, system, moment, self._redact)
        self.poll()
        self.snapshots += 1
        self._guarded(lambda: self._writer.snapshot(snapshot))
        return snapshot

    def poll(self) -> None:
        """Record what the guest printed and which relocations it made since the last time."""
        self._polled = self.seconds
        with interrupts_deferred, suppress(KlosdbgError):
            self._poll_console()
        with interrupts_deferred, suppress(KlosdbgError):
            self._poll_relocations()

    @property
    def replayable(self) -> bool:
        """Tell whether the guest is recorded for a replay, so that its end completes the log."""
        return bool(self._writer.manifest.replay)

    def settle(self) -> None:
        """Record what the guest says last; it may go after."""
        self.poll()
        self._write_symbols()
        found = _COUNT.search(_ask(self._target, "info replay")) if self.replayable else None
        if found:
            manifest = self._writer.manifest
            replay = {**manifest.replay, "instructions": int(found[1])}
            self._writer.manifest = replace(manifest, replay=replay)

    def finish(self, ended: str = "stopped", report: bytes = b"") -> Path:
        """Write the capture, and return where it is; ``CommandError`` where it cannot be."""
        reason = self.ended
        try:
            return self._writer.finish({REPORT: report}, ended)
        except CommandError:
            if reason is None:
                raise
            # What it has, and where, was said when the capture ended.
            raise CommandError(f"{self.path} was not written: {reason}") from None

    def _write_symbols(self) -> None:
        """Write what has a name, once there is any: later names are the same ones."""
        if not self._named and self._symbols is not None:
            ranges = {name: reach for name, *reach in named_ranges(self._symbols)}
            self._named = bool(ranges)
            raw = json.dumps(ranges, separators=(",", ":")).encode() if ranges else b""
            self._guarded(lambda: self._writer.append(SYMBOLS, raw))

    def _poll_console(self) -> None:
        if self._target.read_console is not None:
            printed = self._target.read_console()
            self._guarded(lambda: self._writer.append(CONSOLE, printed[self._console :]))
            self._console = max(self._console, len(printed))

    def _poll_relocations(self) -> None:
        for relocation in self._new_relocations():
            self._line(RELOCATIONS, {"schema": RELOCATION_SCHEMA, **relocation})
            self._relocations = int(str(relocation["seq"]))

    def _new_relocations(self) -> list[Row]:
        system = self._find_system(self._target, self._symbols)
        count, read_log = system.relocations, system.relocation_log
        if count is None or read_log is None or count == self._relocations:
            return []
        if count < self._relocations:
            # The guest was reset, and counts anew.
            self._relocations = 0
        return [row for row in read_log() if int(str(row["seq"])) > self._relocations]

    def _line(self, name: str, record: Mapping[str, Any]) -> None:
        self._guarded(lambda: self._writer.line(name, record))

    def _guarded(self, write: Callable[[], None]) -> None:
        before = self.ended
        write()
        if before is None and self.ended is not None:
            self._warn(self._writer.kept(self.ended))


def _manifest(target: Target, facts: RunFacts, redact: bool) -> Manifest:
    found = _VERSION.search(_ask(target, "info version"))
    kvm = "kvm support: enabled" in _ask(target, "info kvm")
    return replace(
        Manifest(),
        klosdbg=_own_version(),
        python=platform.python_version(),
        target=target.name,
        qemu=found[0] if found else "",
        gdb=facts.gdb,
        accelerator="" if found is None else "kvm" if kvm else "tcg",
        command_line=facts.command_line,
        image=facts.image,
        image_sha256=facts.image_sha256,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        redacted=redact,
        replay=dict(facts.replay or {}),
    )


def _own_version() -> str:
    """Tell which klosdbg this is; empty where it was not installed, as gdb can load it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("klosdbg")
    except PackageNotFoundError:
        return ""


def _ask(target: Target, command: str) -> str:
    try:
        return target.monitor.command(command) if target.monitor else ""
    except KlosdbgError:
        return ""
