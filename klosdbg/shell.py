"""The interactive shell: prompt_toolkit around the front end."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from klosdbg.commands import collect
from klosdbg.commands.base import Command
from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.execution import stop_here
from klosdbg.frontend import Frontend
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
        try:
            line = prompts.prompt(lambda: prompt_text(session)).strip()
        except KeyboardInterrupt:
            _guarded(lambda: _interrupt(frontend))
            continue
        except EOFError:
            break
        line = line or (last if last.split(" ")[0] in _REPEATS_ON_ENTER else "")
        last = line
        _guarded(lambda line=line: frontend.run_line(line))  # type: ignore[misc]
    return 0


def _guarded(action: Callable[[], None]) -> None:
    try:
        action()
    except KlosdbgError as error:
        print(f"klosdbg: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("klosdbg: interrupted", file=sys.stderr)


def _interrupt(frontend: Frontend) -> None:
    session = frontend.session
    if session.has_target and session.target.control and session.control.running:
        stop = stop_here(session, session.control.interrupt())
        print(text(stop, Style(session.symbol, session.color)), file=frontend.out)


def prompt_text(session: Session) -> AnyFormattedText:
    """Say where the guest stands: running, or ring, cs:eip and symbol."""
    if not session.has_target:
        return [("", "(klosdbg) ")]
    try:
        if session.target.control and session.control.running:
            return [("", "(klosdbg "), ("ansigreen", "running"), ("", ") ")]
        cpu = read_cpu(session.target)
    except TargetLost as error:
        session.detach()
        return [("ansired", f"{error}\n"), ("", "(klosdbg) ")]
    except KlosdbgError:
        return [("", "(klosdbg ?) ")]
    where = f"{cpu.segments['cs'].selector:04x}:{cpu.eip:08x}"
    name = session.symbol(cpu.linear_pc)
    place = f"{where} {name}" if name else where
    return [("", "(klosdbg "), ("ansiyellow", f"ring{cpu.cpl} "), ("ansicyan", place), ("", ") ")]


def _history() -> History:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "klosdbg"
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / "history").touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(state / "history"))


class ShellCompleter(Completer):
    """Complete command names, then options and what each argument names."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, _event: object) -> Iterable[Completion]:
        """Yield what can stand at the cursor."""
        line = document.text_before_cursor.lstrip()
        word = line.rpartition(" ")[2]
        for candidate in sorted(self._candidates(line)):
            typed = line if " " in candidate and candidate.startswith(line) else word
            if candidate.startswith(typed):
                yield Completion(candidate, start_position=-len(typed))

    def _candidates(self, line: str) -> set[str]:
        commands = collect()
        chosen = _command_of(line)
        names = {name for name in commands if name.startswith(line)}
        return names | self._arguments(chosen) if chosen else names

    def _arguments(self, chosen: Command) -> set[str]:
        found = {name for action in chosen.parser._actions for name in action.option_strings}
        kinds = {a.completes for a in chosen.args}
        session = self._session
        if "symbol" in kinds and session.symbols:
            found |= set(session.symbols.names())
        if "command" in kinds:
            found |= set(collect())
        if kinds & {"register", "selector"} and session.has_target:
            found |= self._from_registers("selector" in kinds)
        return found

    def _from_registers(self, selectors: bool) -> set[str]:
        try:
            cpu = read_cpu(self._session.target)
        except KlosdbgError:
            return set()
        if selectors:
            return {f"{s.selector:#x}" for s in cpu.segments.values()}
        return {*cpu.gpr, *cpu.segments, "eip", "eflags", "cr0", "cr2", "cr3", "cr4"}


def _command_of(line: str) -> Command | None:
    words = line.split(" ")
    commands = collect()
    if len(words) > 2 and " ".join(words[:2]) in commands:
        return commands[" ".join(words[:2])]
    return commands.get(words[0]) if len(words) > 1 else None
