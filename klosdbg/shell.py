"""The interactive shell: prompt_toolkit around the front end."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from klosdbg.commands.roles import process_name
from klosdbg.completion import ShellCompleter
from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.execution import stop_here
from klosdbg.frontend import Frontend
from klosdbg.models import Stop
from klosdbg.read import read_cpu
from klosdbg.session import Session
from klosdbg.views import Style, text

_REPEATS_ON_ENTER = ("c", "s", "n")


def run_shell(frontend: Frontend, source: Input | None = None, screen: Output | None = None) -> int:
    """Read and run commands until ``quit`` or Ctrl-D; return the exit code."""
    session = frontend.session
    prompts: PromptSession[str] = PromptSession(
        history=_history(),
        completer=ShellCompleter(session),
        complete_while_typing=False,
        refresh_interval=0.5,
        input=source,
        output=screen,
    )
    print("Type 'help' for the commands; Ctrl-D leaves.", file=frontend.out)
    last = ""
    while not session.leaving:
        _notice_stop(frontend)
        try:
            line = prompts.prompt(lambda: prompt_text(session)).strip()
        except KeyboardInterrupt:
            _guarded(session, lambda: _interrupt(frontend))
            continue
        except EOFError:
            break
        line = line or (last if last.split(" ")[0] in _REPEATS_ON_ENTER else "")
        last = line
        _guarded(session, lambda line=line: frontend.run_line(line))  # type: ignore[misc]
    return 0


def _guarded(session: Session, action: Callable[[], None]) -> None:
    try:
        action()
    except TargetLost as error:
        print(f"klosdbg: {error}", file=sys.stderr)
        session.detach()
    except KlosdbgError as error:
        print(f"klosdbg: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("klosdbg: interrupted", file=sys.stderr)


def _is_running(session: Session) -> bool:
    try:
        return bool(
            session.has_target and session.target.control and session.target.control.running
        )
    except KlosdbgError:
        return False


def _notice_stop(frontend: Frontend) -> None:
    session = frontend.session
    if session.in_background and not _is_running(session):
        _guarded(session, lambda: _show(frontend, stop_here(session, session.control.wait(0))))


def _interrupt(frontend: Frontend) -> None:
    session = frontend.session
    if _is_running(session):
        _show(frontend, stop_here(session, session.control.interrupt()))


def _show(frontend: Frontend, stop: Stop) -> None:
    session = frontend.session
    print(text(stop, Style(session.symbol, session.color)), file=frontend.out)
    if stop.failure:
        print(f"klosdbg: {stop.failure}", file=sys.stderr)


def prompt_text(session: Session) -> AnyFormattedText:
    """Say where the guest stands: running, or ring, cs:eip, symbol and process."""
    if not session.has_target:
        return "(klosdbg) "
    try:
        if session.target.control and session.control.running:
            return [("", "(klosdbg "), ("ansigreen", "running"), ("", ") ")]
        cpu = read_cpu(session.target)
        process = process_name(session)
    except TargetLost:
        return [("", "(klosdbg "), ("ansired", "lost"), ("", ") ")]
    except KlosdbgError:
        return "(klosdbg ?) "
    place = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
    name = session.symbol(cpu.linear_pc)
    shown = [("", "(klosdbg "), ("ansiyellow", f"ring{cpu.cpl} "), ("ansicyan", place)]
    shown += [("ansicyan", f" {name}")] if name else []
    shown += [("ansigreen", f" [{process}]")] if process else []
    return [*shown, ("", ") ")]


def _history() -> History:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "klosdbg"
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / "history").touch(mode=0o600)
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(str(state / "history"))
