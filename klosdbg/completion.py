"""Completion in the shell: commands, their options, and what their arguments name."""

from collections.abc import Iterable

from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.document import Document

from klosdbg.commands import collect
from klosdbg.commands.base import Command
from klosdbg.commands.roles import selector_roles
from klosdbg.errors import KlosdbgError
from klosdbg.read import REGISTERS, read_cpu
from klosdbg.session import Session


class ShellCompleter(Completer):
    """Complete command names, then options and what each argument names."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, _event: object) -> Iterable[Completion]:
        """Yield what can stand at the cursor."""
        line = document.text_before_cursor.lstrip()
        word = line.rpartition(" ")[2]
        chosen = _command_of(line)
        found = {name: line for name in collect() if name.startswith(line)}
        if chosen:
            found |= dict.fromkeys(self._arguments(chosen, word), word)
        for candidate, typed in sorted(found.items()):
            if candidate.startswith(typed):
                yield Completion(candidate, start_position=-len(typed))

    def _arguments(self, chosen: Command, word: str) -> set[str]:
        if word.startswith("-"):
            return {name for name in chosen.options if name.startswith("--") or len(word) == 2}
        kinds = {a.completes for a in chosen.args} | {
            f"choice {choice}" for a in chosen.args for choice in a.options.get("choices", ())
        }
        found = {kind.removeprefix("choice ") for kind in kinds if kind.startswith("choice ")}
        session = self._session
        if "symbol" in kinds and session.symbols:
            found |= set(session.symbols.names())
        if "command" in kinds:
            found |= set(collect())
        if "register" in kinds:
            found |= set(REGISTERS)
        if "selector" in kinds and session.has_target:
            found |= self._selectors()
        return found

    def _selectors(self) -> set[str]:
        try:
            segments = read_cpu(self._session.target).segments
            roles = selector_roles(self._session)
        except KlosdbgError:
            return set()
        values = {f"{s.selector:#x}" for s in segments.values() if s.selector}
        return {*segments, *values, *roles}


def _command_of(line: str) -> Command | None:
    words = line.split(" ")
    commands = collect()
    if len(words) > 2 and " ".join(words[:2]) in commands:
        return commands[" ".join(words[:2])]
    return commands.get(words[0]) if len(words) > 1 else None
