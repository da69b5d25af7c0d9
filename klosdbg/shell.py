"""The interactive shell: prompt_toolkit around the front end."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output, create_output

from klosdbg.commands import collect
from klosdbg.completion import ShellCompleter
from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.frontend import Frontend
from klosdbg.models import Stop
from klosdbg.read import read_cpu
from klosdbg.running.execution import stop_here
from klosdbg.session import Session
from klosdbg.views import Style, text

_REPEATS_ON_ENTER = ("c", "s", "n")
_ROOM_TO_TYPE = 24

Fragments = list[tuple[str, str]]


def run_shell(frontend: Frontend, source: Input | None = None, screen: Output | None = None) -> int:
    """Read and run commands until ``quit`` or Ctrl-D; return the exit code."""
    prompts = _prompts(frontend, source, screen)
    print("Type 'help' for the commands; Ctrl-D leaves.", file=frontend.out, flush=True)
    session, last = frontend.session, ""
    while not session.leaving:
        _notice_stop(frontend)
        try:
            line = prompts.prompt(lambda: _fitting_prompt(session, prompts)).strip()
        except KeyboardInterrupt:
            _guarded(frontend, lambda: _interrupt(frontend))
            continue
        except EOFError:
            break
        last = line or (last if _repeats(last) else "")
        _guarded(frontend, lambda line=last: frontend.run_line(line))  # type: ignore[misc]
    return 0


def _prompts(frontend: Frontend, source: Input | None, screen: Output | None) -> PromptSession[str]:
    prompts: PromptSession[str] = PromptSession(
        history=_history(),
        completer=ShellCompleter(frontend.session),
        complete_while_typing=False,
        refresh_interval=0.5,
        input=source,
        output=screen or create_output(always_prefer_tty=True),
    )
    prompts.app.before_render += lambda app: _notice_stop_while_typing(frontend, app)
    return prompts


def _fitting_prompt(session: Session, prompts: PromptSession[str]) -> StyleAndTextTuples:
    return [*prompt_text(session, prompts.app.output.get_size().columns)]


def _repeats(line: str) -> bool:
    chosen = collect().get(line.partition(" ")[0])
    return chosen is not None and chosen.name in _REPEATS_ON_ENTER


def _guarded(frontend: Frontend, action: Callable[[], None]) -> None:
    session = frontend.session
    try:
        action()
    except TargetLost as error:
        _complain(error)
        session.detach()
    except KlosdbgError as error:
        _complain(error)
    except KeyboardInterrupt:
        if _is_running(session) and not session.in_background:
            _guarded(frontend, lambda: _interrupt(frontend))
        else:
            _complain("interrupted")


def _complain(what: object) -> None:
    print(f"klosdbg: {what}", file=sys.stderr, flush=True)


def _is_running(session: Session) -> bool:
    try:
        return bool(session.has_target and session.live.control and session.live.control.running)
    except KlosdbgError:
        return False


def _stopped_meanwhile(session: Session) -> bool:
    return session.shown is None and session.in_background and not _is_running(session)


def _notice_stop_while_typing(frontend: Frontend, app: Application[str]) -> None:
    session = frontend.session
    if app.is_running and session.in_background and session.tracer is not None:
        _guarded(frontend, session.tracer.poll)
    if app.is_running and _stopped_meanwhile(frontend.session):
        run_in_terminal(lambda: _notice_stop(frontend))


def _notice_stop(frontend: Frontend) -> None:
    session = frontend.session
    if _stopped_meanwhile(session):
        session.in_background = False
        _guarded(frontend, lambda: _show_or_resume(frontend))


def _show_or_resume(frontend: Frontend) -> None:
    session = frontend.session
    event = session.control.poll()
    if event is None:
        session.in_background = True
    else:
        _show(frontend, stop_here(session, event))


def _interrupt(frontend: Frontend) -> None:
    session = frontend.session
    if session.shown is not None and _is_running(session):
        _complain("the guest runs on: 'at now' goes back from the snapshot to it")
    elif _is_running(session):
        _show(frontend, stop_here(session, session.control.interrupt()))


def _show(frontend: Frontend, stop: Stop) -> None:
    session = frontend.session
    print(text(stop, Style(session.symbol, session.color)), file=frontend.out, flush=True)
    if stop.failure:
        _complain(stop.failure)


def prompt_text(session: Session, columns: int = 80) -> Fragments:
    """Say where the guest stands: running, or ring, cs:eip, symbol and process.

    Called for every key: what it reads is cached until the guest moves. What does not fit on a
    narrow terminal is left out.
    """
    shown = [fragment for fragment in _standing(session) if fragment[1]]
    while len(shown) > 1 and _length(shown) > columns - _ROOM_TO_TYPE:
        shown.pop()
    fragments = [("", "(klosdbg")]
    for style, word in shown:
        fragments += [("", " "), (style if session.color else "", word)]
    return [*fragments, ("", ") ")]


def _length(shown: Fragments) -> int:
    return len("(klosdbg) ") + sum(1 + len(word) for _, word in shown)


def _standing(session: Session) -> Fragments:
    if not session.has_target:
        return []
    try:
        if session.target.control and session.control.running:
            return [("ansigreen", "running")]
        cpu = read_cpu(session.target)
        process = session.process
    except TargetLost:
        return [("ansired", "lost")]
    except KlosdbgError:
        return [("ansired", "?")]
    place = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
    snapshot = f"snapshot {session.shown}:" if session.shown is not None else ""
    return [
        ("ansimagenta", snapshot),
        ("ansiyellow", f"ring{cpu.cpl}"),
        ("ansicyan", place),
        ("ansicyan", session.symbol(cpu.linear_pc) or ""),
        ("ansigreen", f"[{process}]" if process else ""),
    ]


def _history() -> History:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "klosdbg"
    path = state / "history"
    try:
        state.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.open("r+b").close()
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(str(path))
