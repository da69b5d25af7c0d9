"""Line to command to view, without a guest that moves: errors, streams, ``--stop``, completion."""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from klosdbg.commands import collect
from klosdbg.commands.base import split
from klosdbg.completion import ShellCompleter
from klosdbg.errors import CommandError, KlosdbgError, TargetLost, UsageError
from klosdbg.frontend import Frontend, find_command
from klosdbg.ports import StopEvent, Target
from klosdbg.session import Breakpoint, Session
from klosdbg.shell import prompt_text
from prompt_toolkit.document import Document
from tests.unit.klos.frozen import Control, Memory, symbols, target


def opened(frozen: Target | None = None, **settings: object) -> Frontend:
    session = Session(symbols=symbols(), **settings)  # type: ignore[arg-type]
    session.attach(frozen or target())
    return Frontend(session, io.StringIO())


def printed(frontend: Frontend, line: str) -> str:
    assert isinstance(frontend.out, io.StringIO)
    frontend.run_line(line)
    return frontend.out.getvalue()


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "  # another"])
def test_nothing_to_do(line: str) -> None:
    """An empty line and a comment print nothing."""
    assert printed(opened(), line) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gdtt", "unknown command 'gdtt': did you mean gdt"),
        ("frobnicate", "unknown command 'frobnicate': 'help' lists the commands"),
        ("events", "unknown command 'events': 'help events' lists what it can be"),
        ("events shwo", "unknown command 'events shwo': 'help events' lists"),
        ("expect", "expect events[-1].vector == 11"),
        ("expect eax = 5", "compare with '=='"),
        ("events show --if vector == 3", "put an expression in quotes"),
        ("expect 'eax = 5'", "compare with '=='"),
        ("gdt --nonsense", "gdt: unrecognized arguments: --nonsense (see: help gdt)"),
        ("gdt x", "is not a number (write 27, 0x1b) (see: help gdt)"),
        ("sel", "sel: the following arguments are required: SELECTOR (see: help sel)"),
        ("mem 'ds:0", "no closing quotation"),
        ("s 0", "the count is at least 1"),
    ],
)
def test_what_cannot_be_understood(line: str, said: str) -> None:
    """One line says what is wrong and where help is; the exit code is that of wrong usage."""
    with pytest.raises(UsageError) as raised:
        opened().run_line(line)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_two_words_and_one() -> None:
    """``info b`` is one command; the words after a command are its own."""
    assert find_command(["info", "b"]) == (collect()["info b"], [])
    assert find_command(["gdt", "3"]) == (collect()["gdt"], ["3"])
    assert find_command(["x", "0"])[0] is collect()["mem"]


@pytest.mark.parametrize("line", ["gdt --help", "gdt -h", "help gdt"])
def test_help_for_one(line: str) -> None:
    """Asked either way."""
    shown = printed(opened(), line)
    assert shown.startswith("usage: gdt")
    assert shown.endswith("example: gdt 3\n")


@pytest.mark.parametrize("line", ["help events", "events --help", "events -h"])
def test_help_for_a_family(line: str) -> None:
    """The commands that begin with a word, with what each is for."""
    shown = printed(opened(), line).splitlines()
    assert "  events show    show the events that were recorded" in shown
    assert [row.split()[:2] for row in shown if "remark" in row] == []
    assert max(map(len, shown)) <= 80


def test_help_for_a_word() -> None:
    """Whatever has it."""
    shown = printed(opened(), "help event")
    assert "  events show " in shown
    assert "  b event " in shown
    with pytest.raises(CommandError, match="no command 'nosuch'"):
        printed(opened(), "help nosuch")


def test_a_long_breakpoint_is_named_twice() -> None:
    """In short in the table, in whole below."""
    frontend = opened()
    wanted = "event 14 if process == 'somebody'"
    frontend.session.breakpoints.append(Breakpoint(1, 0x401000, wanted))
    shown = printed(frontend, "info b").splitlines()
    assert "event 14 if process ==.." in shown[1]
    assert shown[2] == "1: event 14 if process == 'somebody'"


def test_json_by_the_line_or_by_the_session() -> None:
    """The same document, one line."""
    once = printed(opened(), "sel 8 --json")
    always = printed(opened(json=True), "sel 8")
    assert once == always
    assert once.count("\n") == 1
    assert json.loads(once)["schema"] == "klosdbg/sel/1"


def test_colour_never_reaches_json() -> None:
    """A terminal that wants colour gets plain JSON."""
    assert "\x1b[" in printed(opened(color=True), "regs")
    assert "\x1b" not in printed(opened(color=True), "regs --json")
    assert "\x1b" not in printed(opened(), "regs")


def test_a_finding_is_kept_and_ends_nothing() -> None:
    """``found_fault`` remembers it for the exit code."""
    frontend = opened()
    printed(frontend, "klos")
    assert not frontend.found_fault
    frozen = target()
    cpu = replace(frozen.registers.read(), gdtr=replace(frozen.registers.read().gdtr, limit=63))
    frozen.registers.cpu = cpu  # type: ignore[attr-defined]
    wrong = opened(frozen)
    printed(wrong, "klos")
    assert wrong.found_fault


def test_stop_reads_and_resumes() -> None:
    """``--stop`` says on the side what it did, and resumes after a failure too."""
    said: list[str] = []
    frontend = opened(warn=said.append)
    frontend.session.control.resume()
    printed(frontend, "sel 8 --stop")
    assert said == ["sel: stopped the guest, read, and resumed it"]
    with pytest.raises(CommandError):
        printed(frontend, "sel nonsense --stop")
    assert frontend.session.control.running
    assert len(said) == 2


def test_ctrl_c_while_a_line_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a Ctrl-C and nothing else, and the next line is parsed as ever.

    Python 3.11 formats the usage first, later ones need not; all of them convert words.
    """
    command = replace(collect()["mem"])
    with monkeypatch.context() as patch:
        patch.setattr(command.parser, "format_usage", stop_now)
        for action in command.parser._actions:
            patch.setattr(action, "type", stop_now)
        with pytest.raises(KeyboardInterrupt):
            command.parse(["0x10"])
    args = command.parse(["0x10", "-w", "4"])
    assert args == collect()["mem"].parse(["0x10", "-w", "4"])


def stop_now(*_args: object) -> str:
    raise KeyboardInterrupt


def stream(frontend: Frontend) -> Iterator[str]:
    """Follow a console that prints until Ctrl-C comes."""
    reads = iter([b"one\n", b"one\ntwo\n"])

    def read() -> bytes:
        try:
            return next(reads)
        except StopIteration:
            raise KeyboardInterrupt from None

    frontend.session.attach(replace(frontend.session.target, read_console=read))
    yield printed(frontend, "console -f")


def test_ctrl_c_ends_a_stream_in_the_shell() -> None:
    """Quietly."""
    assert list(stream(opened(interactive=True))) == ["one\ntwo\n\n"]


def test_ctrl_c_ends_a_run_in_batch() -> None:
    """The exit code tells."""
    with pytest.raises(KeyboardInterrupt):
        list(stream(opened()))


def test_a_time_out_says_where_the_guest_stood() -> None:
    """And how to wait longer."""
    frontend = opened(timeout=0.5)
    with pytest.raises(CommandError, match=r"within 0.5 s: it stood at 001b:00401234 .*--timeout"):
        frontend.run_line("c")


def test_without_a_target() -> None:
    """Commands say how to get one, and the prompt is short."""
    frontend = Frontend(Session(), io.StringIO())
    with pytest.raises(CommandError, match="start one with 'klosdbg run'"):
        frontend.run_line("regs")
    assert prompt(frontend.session) == "(klosdbg) "


def prompt(session: Session, columns: int = 100) -> str:
    return "".join(word for _, word in prompt_text(session, columns))


def test_the_prompt() -> None:
    """Where the guest stands; what does not fit is left out."""
    session = opened().session
    assert prompt(session) == "(klosdbg ring3 001b:00401234 [talk]) "
    assert prompt(session, 54) == "(klosdbg ring3 001b:00401234) "
    assert prompt(session, 10) == "(klosdbg ring3) "
    assert {style for style, _ in prompt_text(session)} == {""}
    session.color = True
    assert "ansicyan" in {style for style, _ in prompt_text(session)}
    session.control.resume()
    assert prompt(session) == "(klosdbg running) "


def test_the_prompt_reads_once_a_stop() -> None:
    """It is drawn for every key, and asks the guest nothing."""
    frontend = opened()
    memory = frontend.session.target.linear
    assert isinstance(memory, Memory)
    prompt(frontend.session)
    before = memory.reads
    for _ in range(50):
        prompt(frontend.session)
    assert memory.reads == before > 0


def test_the_prompt_of_a_snapshot() -> None:
    """It says which one, not that the guest runs."""
    session = opened().session
    session.control.resume()
    session.look_at(2, replace(target(), control=None))
    assert prompt(session) == "(klosdbg snapshot 2: ring3 001b:00401234 [talk]) "
    session.look_at(None, None)
    assert prompt(session) == "(klosdbg running) "


class Gone(Control):
    """Run control of a guest whose QEMU has died."""

    running = property(lambda _self: Gone.lose(), lambda _self, _value: None)  # type: ignore[assignment]

    @staticmethod
    def lose() -> bool:
        raise TargetLost("lost it")


def test_the_prompt_of_a_lost_target() -> None:
    """It says so, and raises nothing."""
    gone = Gone(lambda: StopEvent("interrupt", 2))
    session = opened(replace(target(), control=gone)).session
    assert prompt(session) == "(klosdbg lost) "


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("", {"gdt", "info b", "c"}, {"--all"}),
        ("g", {"gdt"}, {"ldt"}),
        ("info", {"info b"}, {"gdt"}),
        ("gdt --", {"--all", "--json", "--stop", "--help"}, {"gdt"}),
        ("gdt ", set(), {"gdt", "eax"}),
        ("decode ", {"tss", "gdt", "registers"}, {"klos_info"}),
        ("decode pte --bits ", {"16", "32", "64"}, {"tss"}),
        ("decode tss ", set(), {"gdt"}),
        ("help g", {"gdt"}, {"g"}),
        ("set e", {"eax", "eip"}, {"ebx "}),
        ("set eax klos_", {"klos_info"}, {"ebx"}),
        ("sel ", {"cs", "0x1b", "dsos"}, {"eax"}),
        ("b klos_", {"klos_info"}, {"gdt"}),
        ("mem ds:klos_", {"klos_info"}, {"ds:klos_info"}),
        ("mem klos_info ", set(), {"klos_info"}),
        ("c ", {"&"}, set()),
        ("nonsense ", set(), {"gdt"}),
    ],
)
def test_completion(line: str, some: set[str], none: set[str]) -> None:
    """What can stand at the cursor, and nothing else."""
    completer = ShellCompleter(opened().session)
    found = {c.text for c in completer.get_completions(Document(line), None)}
    assert some <= found
    assert not none & found
    assert some or not found


def test_completion_replaces_what_was_typed() -> None:
    """The word, or the part of it behind the colon; of a command of two words, both."""
    completer = ShellCompleter(opened().session)
    starts = {
        line: {c.start_position for c in completer.get_completions(Document(line), None)}
        for line in ("info", "b klos_", "mem ds:klos_")
    }
    assert starts == {"info": {-4}, "b klos_": {-5}, "mem ds:klos_": {-5}}


def test_completion_without_a_target_is_quiet() -> None:
    """Nothing raises, commands still complete."""
    completer = ShellCompleter(Session())
    for line in ("sel ", "b ", "set ", "g"):
        list(completer.get_completions(Document(line), None))


@pytest.mark.parametrize(
    "line", ["sel 0x10000", "mem 0", "b nosuch", "del 9", "gdt 99999", "port 0x3f8/3"]
)
def test_deliberate_errors_are_one_line(line: str) -> None:
    """The front ends print them as they are."""
    with pytest.raises(KlosdbgError) as raised:
        opened(timeout=1.0).run_line(line)
    assert str(raised.value)
    assert "\n" not in str(raised.value)


class Noted:
    """A capture that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, kind: str, words: str) -> None:
        """Take a note."""
        self.notes.append(words)

    def poll(self) -> None:
        """Poll nothing."""


@pytest.mark.parametrize(
    "line",
    ["capture note 'two  words'", 'b event 32 if process == "count"', 'help "b event"', "snaps"],
)
def test_a_capture_notes_commands_as_typed(line: str) -> None:
    """Each can be typed again, with the quotes that it had."""
    frontend = opened()
    frontend.session.capture = noted = Noted()  # type: ignore[assignment]
    with contextlib.suppress(KlosdbgError, AttributeError):
        frontend.run_line(line)
    assert [split(told) for told in noted.notes[:1]] == [split(line)]
    assert noted.notes[0] == line or "if" not in line
