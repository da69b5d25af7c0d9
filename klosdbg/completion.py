"""Completion in the shell: commands, their options, and what their arguments name."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.document import Document

from klosdbg.commands import collect
from klosdbg.commands.base import Arg, Command
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
        yield from (Completion(whole, -len(typed)) for typed, whole in self._of_gdb(line))
        *before, word = line.split(" ")
        chosen, arguments = _command_of([w for w in before if w])
        candidates = self._arguments(chosen, arguments, word) if chosen else set()
        _, colon, offset = word.rpartition(":")
        typed = offset if colon else word
        found = {name: line for name in collect() if name.startswith(line)}
        found |= {name: typed for name in candidates if name.startswith(typed)}
        yield from (Completion(name, start_position=-len(found[name])) for name in sorted(found))

    def _of_gdb(self, line: str) -> Iterator[tuple[str, str]]:
        """Yield what is typed for gdb, and what it makes of that, where gdb has been started."""
        debugger = self._session.debugger
        first, space, rest = line.partition(" ")
        if debugger is None or not space or (first != "gdb" and _command_of(line.split())[0]):
            return
        typed = rest.lstrip() if first == "gdb" else line
        with suppress(KlosdbgError):
            yield from ((typed, whole) for whole in debugger.complete(typed))

    def _arguments(self, chosen: Command, before: list[str], word: str) -> set[str]:
        if word.startswith("-"):
            return {name for name in chosen.options if name.startswith("--") or len(word) == 2}
        wanted = _argument_at(chosen, before)
        if wanted is None:
            return set()
        return set(map(str, wanted.options.get("choices", ()))) | self._named(wanted.completes)

    def _named(self, kind: str) -> set[str]:
        session = self._session
        if kind == "symbol" and session.symbols:
            return set(session.symbols.names())
        if kind == "command":
            return set(collect())
        if kind == "register":
            return set(REGISTERS)
        return self._selectors() if kind == "selector" and session.has_target else set()

    def _selectors(self) -> set[str]:
        try:
            segments = read_cpu(self._session.target).segments
            roles = self._session.system.selector_roles
        except KlosdbgError:
            return set()
        values = {f"{s.selector:#x}" for s in segments.values() if s.selector}
        return {*segments, *values, *roles}


def _command_of(before: list[str]) -> tuple[Command | None, list[str]]:
    commands = collect()
    if len(before) > 1 and " ".join(before[:2]) in commands:
        return commands[" ".join(before[:2])], before[2:]
    return (commands.get(before[0]), before[1:]) if before else (None, [])


def _argument_at(chosen: Command, before: list[str]) -> Arg | None:
    """Find the argument that comes after these words: an option's value, or the next positional."""
    values = {name: arg for arg in chosen.args for name in arg.names if _takes_value(arg)}
    if before and before[-1] in values:
        return values[before[-1]]
    positional = [arg for arg in chosen.args if not arg.names[0].startswith("-")]
    count = sum(1 for _ in _positionals(before, set(values)))
    if positional and positional[-1].options.get("nargs") in ("*", "+"):
        count = min(count, len(positional) - 1)
    return positional[count] if count < len(positional) else None


def _takes_value(arg: Arg) -> bool:
    return arg.names[0].startswith("-") and arg.options.get("action") != "store_true"


def _positionals(before: list[str], with_value: set[str]) -> Iterator[str]:
    previous = ""
    for word in before:
        if not word.startswith("-") and previous not in with_value:
            yield word
        previous = word
