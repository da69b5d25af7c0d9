"""The composition root: command line to target to shell, single commands, or a script."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from klosdbg import images
from klosdbg.errors import CommandError, DataError, KlosdbgError, UsageError
from klosdbg.factories import LocalFactories, load_symbols
from klosdbg.frontend import Frontend
from klosdbg.options import build_parser
from klosdbg.ports import Target
from klosdbg.running.execution import run_to
from klosdbg.session import Session
from klosdbg.wire.symbols import Image, SymbolTable

if TYPE_CHECKING:
    from klosdbg.captures.capture import RunFacts
    from klosdbg.targets.qemu import QemuOptions

_PROGRESS_INTERVAL = 10.0
BATCH_TIMEOUT = 60.0
_ENTRY_TIMEOUT = 20.0
_FIXED_SEED = "seed=1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run klosdbg and return its exit code (docs/guide.md lists them)."""
    _replace_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(words)
    except KlosdbgError as error:
        print(f"klosdbg: {error}", file=sys.stderr)
        _drop_unwritten()
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_unwritten()
        return 0


def _drop_unwritten() -> None:
    """Keep Python from writing once more, when it ends, what the output did not take."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _main(words: list[str]) -> int:
    if words[:1] in (["decode"], ["doctor"], ["bench"]):
        return _run_one(words)
    if words == ["gdb-init"]:
        print(_gdb_line())
        return 0
    at = words.index("--") if "--" in words else len(words)
    args = build_parser().parse_args(words[:at])
    args.qemu_args = words[at + 1 :]
    if at < len(words) and args.verb not in ("run", "capture"):
        raise UsageError(f"{args.verb} starts no QEMU of your choice: leave out '--' and the rest")
    args.words, args.replay = words, None
    lines = list(_batch_lines(args))
    session = _session(args)
    try:
        _open_target(session, args)
        _use_profile(session, args)
        _record(session, args)
        return _serve(session, args, lines)
    finally:
        _leave(session)


def _gdb_line() -> str:
    """Write the line that puts the installed packages on gdb's path and loads the extension."""
    import sysconfig

    sites = [str(Path(__file__).resolve().parent.parent), sysconfig.get_path("purelib")]
    load = "import klosdbg.gdb_entry; klosdbg.gdb_entry.load()"
    return f"python import sys; sys.path[:0] = {sites}; {load}"


def _leave(session: Session) -> None:
    """Write a capture that is still being recorded, whatever ended the session."""
    try:
        if session.capture is not None:
            from klosdbg.commands.capture import leave_capture

            leave_capture(session, sys.exc_info()[1])
    finally:
        session.detach()


def _run_one(words: list[str]) -> int:
    session = Session(factories=LocalFactories(), color=_wants_color(), warn=_warn)
    frontend = Frontend(session)
    frontend.run_words(words)
    return int(frontend.found_fault)


def _session(args: argparse.Namespace) -> Session:
    batch = bool(args.commands or args.script or not sys.stdin.isatty())
    timeout = args.timeout
    if timeout is None:
        timeout = BATCH_TIMEOUT if batch else 0.0
    return Session(
        factories=LocalFactories(),
        json=args.json,
        color=_wants_color(),
        timeout=timeout or None,
        interactive=not batch,
        warn=_warn,
        progress=_Progress().show,
        describe=lambda: _facts(args),
    )


def _facts(args: argparse.Namespace) -> "RunFacts":
    """Tell a capture what was run."""
    import hashlib

    from klosdbg.captures.capture import RunFacts

    image = _image_of(args) if args.verb in ("run", "capture") else None
    return RunFacts(
        gdb=LocalFactories().version("gdb", "gdb") or "",
        command_line=("klosdbg", *args.words),
        image=image.name if image else "",
        replay=args.replay,
        image_sha256=hashlib.sha256(image.read_bytes()).hexdigest() if image else "",
    )


def _image_of(args: argparse.Namespace) -> Path | None:
    if args.image == "none":
        return None
    return Path(args.image) if args.image else images.found(images.KLOS)


def _wants_color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _warn(message: str) -> None:
    print(f"klosdbg: {message}", file=sys.stderr)


class _Progress:
    """Show how a long command goes: in place on a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, message: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{message}\r", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _PROGRESS_INTERVAL
            _warn(message)


def _open_target(session: Session, args: argparse.Namespace) -> None:
    if args.verb == "attach" or (args.verb == "serve" and _is_address(args.target)):
        from klosdbg.targets.live import connect

        session.symbols = load_symbols(args.symbols)
        session.attach(connect(args.target, args.qmp))
        return
    if args.verb in ("open", "serve"):
        _open_file(session, args)
        return
    if args.verb == "replay":
        _open_replay(session, args)
        return
    image = _image_of(args)
    session.symbols = load_symbols(args.symbols + ([str(image)] if image else []))
    session.attach(_start(args, image))
    if image:
        _run_to_entry(session)


def _use_profile(session: Session, args: argparse.Namespace) -> None:
    if args.profile:
        from klosdbg.klos.profile import load_profile
        from klosdbg.klos.profile_memory import use_profile

        profile = load_profile(Path(args.profile))
        target, session.symbols = use_profile(session.live, session.symbols, profile)
        session.attach(target)


def _record(session: Session, args: argparse.Namespace) -> None:
    if args.verb == "capture":
        from klosdbg.commands.capture import start_capture

        start_capture(session, Path(args.output), args.redact, args.deterministic)


def _is_address(target: str) -> bool:
    return target.startswith("unix:") or (":" in target and not Path(target).exists())


def _open_replay(session: Session, args: argparse.Namespace) -> None:
    from klosdbg.captures.opened import Opened
    from klosdbg.targets.capture import open_capture
    from klosdbg.targets.replay import check_version, start_replay

    path = Path(args.file)
    bundle = open_capture(path)
    if bundle.damage:
        session.warn(f"{path.name} is damaged: {bundle.damage_line()}")
    target, image = start_replay(bundle, path.name, args.headless)
    session.attach(target)
    session.events = Opened(path.name, bundle).events
    if differs := check_version(bundle.manifest, target):
        session.warn(differs)
    given = load_symbols(args.symbols)
    session.symbols = SymbolTable((*given.images, Image(image, path.name)))
    _run_to_entry(session)


def _open_file(session: Session, args: argparse.Namespace) -> None:
    from klosdbg.targets.dump import is_elf, open_dump

    path = Path(args.target if args.verb == "serve" else args.file)
    if args.symbols:
        session.symbols = load_symbols(args.symbols)
    if is_elf(path):
        session.attach(open_dump(path))
        return
    from klosdbg.captures.opened import Opened
    from klosdbg.commands.capture import show_capture
    from klosdbg.targets.capture import open_capture

    show_capture(session, Opened(path.name, open_capture(path)))


def _start(args: argparse.Namespace, image: Path | None) -> Target:
    from klosdbg.targets.qemu import QemuOptions, start_qemu

    append = args.append or ""
    if args.deterministic and image and "seed=" not in append:
        append = f"{append} {_FIXED_SEED}".strip()
    options = QemuOptions(
        image=image,
        append=append,
        accel=args.accel,
        deterministic=args.deterministic,
        headless=args.headless,
        qemu=args.qemu,
        extra_args=tuple(args.qemu_args),
    )
    if args.verb == "capture" and args.deterministic:
        return _start_recorded(args, options)
    return start_qemu(options)


def _start_recorded(args: argparse.Namespace, options: "QemuOptions") -> Target:
    from klosdbg.captures.writer import reserve
    from klosdbg.targets.replay import start_recorded

    if args.redact or options.image is None or args.accel == "kvm":
        raise UsageError("--deterministic needs an image and TCG, and keeps all: no --redact")
    target, args.replay = start_recorded(options, reserve(Path(args.output)))
    return target


def _run_to_entry(session: Session) -> None:
    assert isinstance(session.symbols, SymbolTable)
    entry = session.symbols.images[-1].entry
    timeout, session.timeout = session.timeout, _ENTRY_TIMEOUT
    missed = f"the image's entry point {entry:#010x} was not reached"
    try:
        stop = run_to(session, entry, missed)
        if stop.linear != entry:
            session.warn(f"{missed}: {stop.failure or f'it stopped at {stop.linear:#010x}'}")
    except CommandError as error:
        session.warn(str(error))
    finally:
        session.timeout = timeout


def _serve(session: Session, args: argparse.Namespace, lines: Sequence[str]) -> int:
    frontend = Frontend(session)
    for line in lines:
        frontend.run_line(line)
        if session.leaving:
            return int(frontend.found_fault)
    if getattr(args, "listen", None):
        from klosdbg.server.server import serve_session

        serve_session(session, args.listen, exposed=args.expose)
        return int(frontend.found_fault)
    if args.interactive or (not args.commands and not args.script and sys.stdin.isatty()):
        from klosdbg.shell import run_shell

        session.interactive = True
        session.timeout = args.timeout or None
        return run_shell(frontend)
    if not args.commands and not args.script:
        for line in sys.stdin:
            frontend.run_line(line)
            if session.leaving:
                break
    return int(frontend.found_fault)


def _batch_lines(args: argparse.Namespace) -> Iterator[str]:
    yield from args.commands
    if args.script:
        try:
            yield from Path(args.script).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise DataError(f"cannot read the script {args.script}: {reason.lower()}") from None


if __name__ == "__main__":
    sys.exit(main())
